//! Reads the sources for the guards.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of `src/`, without its tests.
pub(crate) struct Source {
    /// Without tests and without comments.
    pub(crate) code: String,
    /// Lines without tests.
    pub(crate) lines: usize,
    /// Names of the modules above and of the module itself: `src/edge/tls.rs` is `["edge", "tls"]`.
    pub(crate) module: Vec<String>,
    /// Path from the repository's root.
    pub(crate) path: String,
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// All files below `folder` with this ending, from the repository's root and sorted, except packages that npm installs.
pub(crate) fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !matches!(name, "node_modules" | "out") {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every source file of the workspace, without tests of their own folder.
pub(crate) fn code() -> Vec<String> {
    let crates = files("crates", ".rs").into_iter().filter(|path| path.contains("/src/"));
    files("src", ".rs").into_iter().chain(crates).collect()
}

/// All code except test modules.
pub(crate) fn sources() -> Vec<Source> {
    let is_test = |path: &String| path.split(['/', '.']).any(|part| matches!(part, "testing" | "tests"));
    code().into_iter().filter(|path| !is_test(path)).map(Source::of).collect()
}

impl Source {
    fn of(path: String) -> Self {
        let text = without_tests(&read(&path));
        let mut module: Vec<String> = path
            .split('/')
            .skip_while(|part| *part != "src")
            .skip(1)
            .map(|part| part.trim_end_matches(".rs").into())
            .collect();
        module.pop_if(|name| name == "mod");
        // The rest of the workspace knows the simulator by this name.
        if path.starts_with("crates/simulator/") {
            module.insert(0, "headend".into());
            module.pop_if(|name| name == "lib");
        }
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        Self { code: code.join("\n"), lines: text.lines().count(), module, path }
    }

    /// The body of the function that follows these landmarks, the last of which is its name.
    pub(crate) fn body(&self, landmarks: &[&str]) -> &str {
        let after = |rest: &'_ str, mark: &str| {
            rest.find(mark).map(|at| at + mark.len()).unwrap_or_else(|| panic!("{}: no {mark:?}", self.path))
        };
        let rest = landmarks.iter().chain(&[" {\n"]).fold(&*self.code, |rest, mark| &rest[after(rest, mark)..]);
        let mut depth = 1;
        let end = rest.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        rest.get(..end.unwrap().0).unwrap()
    }
}

pub(crate) fn source(path: &str) -> Source {
    Source::of(path.to_owned())
}

pub(crate) fn without_tests(text: &str) -> String {
    let text = text.replace("#[cfg(test)]\nmod tests;\n", "");
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// The plain string literals of a text.
pub(crate) fn literals(code: &str) -> Vec<&str> {
    code.split('"').skip(1).step_by(2).collect()
}

/// True for a possible stable name: `no_route`, `timeout`.
pub(crate) fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}
