//! A scripted origin, which controls when each byte is sent, and a player that reads slowly.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sidebeat::task::{DeadTasks, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(20);
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Larger than any test's data.
const MAX_REST_BYTES: usize = 1 << 30;

/// A request's head as it came, and the connection to answer on.
pub(crate) struct Asked {
    pub(crate) head: String,
    pub(crate) stream: TcpStream,
}

/// Hands every request to the test, one connection each.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    asked: Arc<tokio::sync::Mutex<mpsc::UnboundedReceiver<Asked>>>,
    heads: Arc<Mutex<Vec<String>>>,
    tasks: Tasks,
    _deaths: DeadTasks,
}

/// The replies that it gives by itself: path, media type and text.
pub(crate) type Pages = Vec<(&'static str, &'static str, String)>;

impl Origin {
    /// Answers `pages`; what else is asked for is the test's to answer.
    pub(crate) async fn with(pages: Pages) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tasks, deaths) = Tasks::new();
        let address = listener.local_addr().unwrap();
        let (hand, asked) = mpsc::unbounded_channel();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (noted, own, pages) = (heads.clone(), tasks.clone(), Arc::new(pages));
        tasks.spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap().0,
                    () = own.stopped() => return,
                };
                own.spawn(serve(stream, pages.clone(), noted.clone(), hand.clone()));
            }
        });
        Self { address, asked: Arc::new(asked.into()), heads, tasks, _deaths: deaths }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next request that is no page.
    pub(crate) async fn next(&self) -> Asked {
        let asked = tokio::time::timeout(PATIENCE, async { self.asked.lock().await.recv().await });
        asked.await.unwrap_or_else(|_| panic!("nobody asks the origin")).unwrap()
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// All request lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.heads().iter().map(|head| head.lines().next().unwrap().to_owned()).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

async fn serve(
    mut stream: TcpStream,
    pages: Arc<Pages>,
    heads: Arc<Mutex<Vec<String>>>,
    hand: mpsc::UnboundedSender<Asked>,
) {
    while let Some(head) = read_head(&mut stream).await {
        heads.lock().unwrap().push(head.clone());
        let target = head.split(' ').nth(1).unwrap();
        let path = target.split('?').next().unwrap();
        let Some((_, media_type, text)) = pages.iter().find(|(page, ..)| *page == path) else {
            let _over = hand.send(Asked { head, stream });
            return;
        };
        let length = text.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: {media_type}\r\netag: \"x\"\r\ncontent-length: {length}\r\n\r\n");
        let _gone = stream.write_all(head.as_bytes()).await;
        let _gone = stream.write_all(text.as_bytes()).await;
    }
}

/// Reads up to the empty line. `None` if the connection ended.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(head.len() < MAX_HEAD_BYTES, "a head without an end");
        let byte = tokio::time::timeout(PATIENCE, stream.read_u8()).await.ok()?;
        head.push(byte.ok()?);
    }
    Some(String::from_utf8(head).unwrap())
}

/// Asks, and gives the head of the reply with the connection that the body comes on.
pub(crate) async fn get(proxy: SocketAddr, path: &str, headers: &str) -> (String, TcpStream) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap_or_else(|| panic!("no reply to {path}"));
    (head, stream)
}

pub(crate) async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut bytes)).await;
    read.unwrap_or_else(|_| panic!("the bytes do not come")).unwrap();
    bytes
}

/// How many bytes come until the connection ends.
pub(crate) async fn rest(stream: &mut TcpStream) -> usize {
    let (mut buffer, mut total) = (vec![0; 64 * 1024], 0);
    loop {
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut buffer)).await;
        match read.unwrap_or_else(|_| panic!("the connection does not end")) {
            Ok(0) | Err(_) => return total,
            Ok(read) => total += read,
        }
        assert!(total < MAX_REST_BYTES, "the transfer goes on for ever");
    }
}
