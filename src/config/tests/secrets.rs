//! Where secrets come from, and that nothing shows them.

use std::fs;

use super::{LEAST, NAGRA, read, read_with};

#[test]
fn a_secret_comes_from_the_text_or_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "from-file\r\n").unwrap();
    fs::write(folder.path().join("empty"), "\n").unwrap();
    let token = |text: &str, variables: &[(&str, &str)]| {
        let config = read_with(&format!("[admin]\n{text}\n{LEAST}"), folder.path(), variables);
        config.map(|config| config.admin.token.unwrap().expose().to_owned())
    };
    let good = |text: &str, variables: &[(&str, &str)]| token(text, variables).unwrap();
    assert_eq!(good("token = \"from-text\"", &[]), "from-text");
    assert_eq!(good("token-file = \"token\"", &[]), "from-file");
    assert_eq!(good("token = \"from-text\"", &[("SIDEBEAT_ADMIN_TOKEN", "from-variable")]), "from-variable");
    assert_eq!(good("token = \"from-text\"", &[("SIDEBEAT_ADMIN_TOKEN_FILE", "token")]), "from-file");
    assert_eq!(good("token-file = \"none\"", &[("SIDEBEAT_ADMIN_TOKEN", "123")]), "123");
    for (text, variables, what) in [
        ("token-file = \"empty\"", vec![], "line 2: admin.token-file: is empty"),
        (
            "token-file = \"none\"",
            vec![],
            "line 2: admin.token-file: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "",
            vec![("SIDEBEAT_ADMIN_TOKEN", "a"), ("SIDEBEAT_ADMIN_TOKEN_FILE", "token")],
            "SIDEBEAT_ADMIN_TOKEN_FILE: stands beside admin.token: keep one of them",
        ),
    ] {
        assert_eq!(token(text, &variables).unwrap_err().to_string().trim(), what);
    }
}

#[test]
fn no_output_shows_a_secret() {
    let good = format!(
        "[admin]\ntoken = \"hush\"\n{NAGRA}url = \"https://h\"\nsetup-url = \"https://h/s?k=hush\"\n\
         headers = {{ x-api-key = \"hush\" }}\n{LEAST}"
    );
    assert!(!format!("{:?}", read(&good).unwrap()).contains("hush"));
    let bad = format!(
        "[admin]\ntoken = \"hush \"\ntokem = \"hush\"\nlisten = \"hush\"\n{NAGRA}url = \"hush\"\n\
         headers = {{ x-api-key = \"hush\\n\" }}\n[[route]]\nlicense-server = \"https://hush@h\"\n\
         aaaaaaaaaaaaaaaahushaaaaaaaaaaaaaaaa = 1\n"
    );
    let shown = read(&bad).unwrap_err();
    assert_eq!(shown.0.len(), 8, "{shown}");
    assert!(!shown.to_string().contains("hush"), "{shown}");
}
