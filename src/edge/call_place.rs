//! Receives the body of a request, and takes the places that its call needs.
//!
//! A call takes its place among the calls in flight only when its body is complete, so that half a body delays
//! nobody. Until then it counts as an arriving body, its bytes count for its address and for all, and its connection
//! may have to make room for others (`connection_state`). The body and the answer share a [`CallPlace`]: the body
//! takes, the answer gives back.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::address_limits::{AddressHandle, AddressResource, AddressShare};
use super::body::BodyFault;
use super::connection_state::ReceivingBody;
use super::counters::add;
use super::own_replies::EdgeRefusal;
use super::permit_pool::Permit;
use super::shared::EdgeShared;
use crate::task::{CallerPlace, HeldPlace};

/// A call for which there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallRefusal {
    /// The address has all the calls, bodies or bytes that it may have.
    AddressFull,
    /// All addresses together have that many.
    Full,
}

impl CallRefusal {
    pub(super) const fn refusal(self) -> EdgeRefusal {
        let (error, detail) = match self {
            Self::AddressFull => ("too_many_calls", "this address has too many calls under way"),
            Self::Full => ("overloaded", "too many calls are in flight"),
        };
        // A 5xx would make players retry in a storm; a 4xx ends the attempt.
        EdgeRefusal { status: StatusCode::FORBIDDEN, error, detail, close: true }
    }
}

pub(super) struct CallPlace {
    address: AddressHandle,
    held: Mutex<HeldPlaces>,
    shared: Arc<EdgeShared>,
}

#[derive(Default)]
struct HeldPlaces {
    /// Held while the body arrives.
    body: Option<AddressShare>,
    /// Held while the body is waited for.
    receiving: Option<ReceivingBody>,
    body_bytes: Option<(AddressShare, Permit)>,
    /// Held once the body is complete.
    call: Option<(Arc<AddressShare>, Permit)>,
}

impl CallPlace {
    /// Takes places for a request whose head is there. A request without a body is complete.
    pub(super) fn begin(
        shared: &Arc<EdgeShared>,
        address: AddressHandle,
        receiving: Option<ReceivingBody>,
    ) -> Result<Arc<Self>, CallRefusal> {
        let place = Self { address, held: Mutex::default(), shared: Arc::clone(shared) };
        if receiving.is_some() {
            let body = place.share(AddressResource::Bodies, 1)?;
            let mut held = place.held();
            (held.body, held.receiving) = (Some(body), receiving);
            drop(held);
        } else {
            place.complete()?;
        }
        Ok(Arc::new(place))
    }

    /// Gives back the places when the reply is there. The returned share counts the call for its address until the
    /// reply is sent, so that a slow reader delays nobody else.
    pub(super) fn answered(&self) -> Option<Arc<AddressShare>> {
        let HeldPlaces { body: _, body_bytes: _, call, receiving: _ } = std::mem::take(&mut *self.held());
        call.map(|(share, _permit)| share)
    }

    fn receive(&self, bytes: usize) -> Result<(), CallRefusal> {
        let mut held = self.held();
        match &mut held.body_bytes {
            Some((share, permit)) => {
                if !share.grow(bytes) {
                    return Err(CallRefusal::AddressFull);
                }
                if !permit.grow(bytes) {
                    return Err(self.refuse());
                }
            }
            None => {
                let share = self.share(AddressResource::BodyBytes, bytes)?;
                let permit = self.shared.body_memory.enter_with(bytes).ok_or_else(|| self.refuse())?;
                held.body_bytes = Some((share, permit));
            }
        }
        Ok(())
    }

    fn complete(&self) -> Result<(), CallRefusal> {
        let mut held = self.held();
        if held.call.is_none() {
            let calls = &self.shared.calls;
            let share = self.address.take_call(calls.scarce()).ok_or(CallRefusal::AddressFull)?;
            let permit = calls.enter().ok_or_else(|| self.refuse())?;
            held.call = Some((Arc::new(share), permit));
        }
        (held.body, held.receiving) = (None, None);
        Ok(())
    }

    fn share(&self, resource: AddressResource, amount: usize) -> Result<AddressShare, CallRefusal> {
        self.address.take(resource, amount).ok_or(CallRefusal::AddressFull)
    }

    fn refuse(&self) -> CallRefusal {
        add(&self.shared.counters.refused_calls);
        CallRefusal::Full
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HeldPlaces> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets detached work count for the address, but not for all, because the call itself is over.
impl CallerPlace for CallPlace {
    fn hold(&self) -> Option<HeldPlace> {
        let held = self.held();
        let (share, _permit) = held.call.as_ref()?;
        Some(HeldPlace::new(share.clone()))
    }
}

/// The body that a handler reads; see [`super::body::collect`].
pub struct RequestBody {
    inner: Incoming,
    place: Arc<CallPlace>,
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, place: Arc<CallPlace>) -> Self {
        Self { inner, place }
    }
}

/// A handler that drops the body does not wait for it.
impl Drop for RequestBody {
    fn drop(&mut self) {
        self.place.held().receiving = None;
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            None => return Poll::Ready(self.place.complete().err().map(|refusal| Err(BodyFault::Refuse(refusal)))),
            Some(Err(_broken)) => return Poll::Ready(Some(Err(BodyFault::Break))),
            Some(Ok(frame)) => frame,
        };
        let received = self.place.receive(frame.data_ref().map_or(0, Bytes::len));
        let taken = received.and_then(|()| if self.inner.is_end_stream() { self.place.complete() } else { Ok(()) });
        Poll::Ready(Some(taken.map(|()| frame).map_err(BodyFault::Refuse)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
