//! What the module is, before it runs.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a panic fails the test, as it should"
)]

use weir_host_tests::Plugin;

#[test]
fn it_imports_only_what_envoy_provides() {
    let module = Plugin::Weir.module();
    assert!(module.imports.iter().any(|(from, name)| from == "env" && name == "proxy_log"));
    for (from, name) in &module.imports {
        let is_provided = match from.as_str() {
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => {
                ["random_get", "clock_time_get", "environ_get", "environ_sizes_get", "fd_write", "proc_exit"]
                    .contains(&name.as_str())
            }
            _ => false,
        };
        assert!(is_provided, "{from}.{name}");
    }
}

#[test]
fn it_has_at_most_two_mebibytes() {
    let size = Plugin::Weir.module().bytes.len();
    assert!(size <= 2 * 1024 * 1024, "weir.wasm has {size} bytes");
}

/// The same sources become the same module wherever they are built: `make wasm` sees to it.
#[test]
fn it_names_no_place_of_the_machine_that_built_it() {
    let bytes = &Plugin::Weir.module().bytes;
    let has = |place: &str| bytes.windows(place.len()).any(|window| window == place.as_bytes());
    assert!(has("/cargo/registry"), "places of crates are named in another way: the module was built without `make wasm`");
    let places = ["HOME", "CARGO_HOME", "RUSTUP_HOME"].map(|name| std::env::var(name).unwrap_or_default());
    for place in places.iter().map(String::as_str).chain([env!("CARGO_MANIFEST_DIR")]) {
        assert!(place.len() < 2 || !has(&format!("{place}/")), "{place}");
    }
}
