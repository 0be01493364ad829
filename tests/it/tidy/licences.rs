//! Every crate we link comes from crates.io under a licence on the list of `deny.toml`.
//!
//! The test asks cargo, which reads Cargo.lock. It works offline once the crates are fetched.

use std::process::Command;

use serde_json::Value;

use super::read;

/// The strings of `key = [ … ]` in deny.toml.
fn list(text: &str, key: &str) -> Vec<String> {
    let start = text.find(&format!("\n{key} = [")).unwrap_or_else(|| panic!("no {key}"));
    let rest = &text[start..];
    let end = rest.find("\n]").unwrap_or_else(|| panic!("{key} has no end"));
    rest[..end].split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether a licence expression can be met by the licences allowed. `/` is an old spelling of OR.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    if expression.contains('(') {
        // `(A OR B) AND C`: every licence in it must be on the list, which is stricter.
        let words = plain.replace(" AND ", " OR ");
        return words.split(" OR ").all(|l| allowed.iter().any(|a| a == l.trim()));
    }
    plain
        .split(" OR ")
        .any(|choice| choice.split(" AND ").all(|l| allowed.iter().any(|a| a == l.trim())))
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT".to_owned(), "Apache-2.0".to_owned(), "Unicode-3.0".to_owned()];
    for yes in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
        assert!(permitted(yes, &allowed), "{yes}");
    }
    for no in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR GPL-3.0) AND MIT", ""] {
        assert!(!permitted(no, &allowed), "{no}");
    }
}

#[test]
fn every_crate_is_from_crates_io_under_a_permissive_licence() {
    let deny = read("deny.toml");
    let allowed = list(&deny, "allow");
    let exceptions = list(&deny, "exceptions");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .current_dir(super::root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata (try: cargo fetch --locked): {errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "only {} crates", packages.len());
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or("");
        // An exception is a licence with the one crate that may have it.
        let excepted = exceptions.chunks(2).filter(|pair| pair[1] == name);
        let of_crate: Vec<String> =
            allowed.iter().cloned().chain(excepted.map(|pair| pair[0].clone())).collect();
        if !permitted(licence, &of_crate) {
            wrong.push(format!("{name}: licence {licence:?}"));
        }
        let source = package["source"].as_str();
        // A package of this repository has no source.
        const OWN: [&str; 7] = [
            "lfm2-wgpu",
            "lfm2-wgpu-capi",
            "lfm2-wgpu-isa",
            "lfm2-wgpu-structure",
            "lfm2-wgpu-web",
            "lfm2-wgpu-web-tests",
            "xtask",
        ];
        if !OWN.contains(&name)
            && source != Some("registry+https://github.com/rust-lang/crates.io-index")
        {
            wrong.push(format!("{name}: from {source:?}"));
        }
    }
    assert!(wrong.is_empty(), "not allowed by deny.toml:\n  {}", wrong.join("\n  "));
}
