//! Every line under a trait's `# Contract` is tried by a case, and every case quotes a line that is there.

use im_core::testing::conformance::{
    blocklist_cases, buckets_cases, bus_cases, locks_cases, outbox_cases, routes_cases, store_cases,
    transfer_cases,
};

/// The contract lines of a trait's methods, as (`Trait::method`, line), and whatever else the methods' docs promise.
struct Docs {
    contracts: Vec<(String, String)>,
    promises: Vec<(String, String)>,
}

const SOURCES: [(&str, &str); 13] = [
    ("Timelines", include_str!("../../src/storage/timelines.rs")),
    ("Conversations", include_str!("../../src/storage/conversations.rs")),
    ("Cursors", include_str!("../../src/storage/cursors.rs")),
    ("Nodes", include_str!("../../src/storage/nodes.rs")),
    ("Outbox", include_str!("../../src/storage/outbox.rs")),
    ("Buckets", include_str!("../../src/storage/buckets.rs")),
    ("Epochs", include_str!("../../src/storage/epochs.rs")),
    ("Export", include_str!("../../src/storage/transfer.rs")),
    ("Import", include_str!("../../src/storage/transfer.rs")),
    ("Routes", include_str!("../../src/router/routes.rs")),
    ("Bus", include_str!("../../src/router/bus.rs")),
    ("Locks", include_str!("../../src/ports/lock.rs")),
    ("Blocklist", include_str!("../../src/storage/blocklist.rs")),
];

fn docs() -> Docs {
    let mut docs = Docs { contracts: Vec::new(), promises: Vec::new() };
    for (name, source) in SOURCES {
        let (before, body) = source.split_once(&format!("pub trait {name}:")).unwrap();
        let body = body.split_once("\n}").unwrap().0;
        docs.promises.push((name.to_owned(), plain(&docs_above(before))));
        let mut lines = Vec::new();
        for line in body.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                lines.push(text.trim());
            } else if let Some(signature) = line.strip_prefix("async fn ") {
                let method = format!("{name}::{}", signature.split('(').next().unwrap());
                let text = lines.join("\n");
                docs.contracts.extend(contract_lines(&text).map(|line| (method.clone(), line)));
                docs.promises.push((method, plain(&text)));
                lines.clear();
            }
        }
    }
    docs
}

/// The documentation that a source ends with.
fn docs_above(source: &str) -> String {
    let lines: Vec<_> = source.lines().rev().skip_while(|line| !line.starts_with("///")).collect();
    let docs = lines.iter().map_while(|line| line.strip_prefix("///")).map(str::trim);
    let mut docs: Vec<_> = docs.collect();
    docs.reverse();
    docs.join("\n")
}

/// The bullets under `# Contract`.
fn contract_lines(text: &str) -> impl Iterator<Item = String> {
    let section = text.split_once("# Contract").map_or("", |(_, rest)| rest);
    let section = section.split("\n#").next().unwrap_or_default();
    section.split("\n- ").skip(1).map(plain).collect::<Vec<_>>().into_iter()
}

/// One line, without the targets of links.
fn plain(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let mut plain = String::new();
    let mut rest = words.join(" ");
    while let Some((before, after)) = rest.split_once("](") {
        plain.push_str(before);
        plain.push(']');
        rest = after.split_once(')').unwrap_or_default().1.to_owned();
    }
    plain + &rest
}

/// Of every case: its name, its method, what it quotes.
fn cases() -> Vec<[&'static str; 3]> {
    let store = store_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let routes = routes_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let bus = bus_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let locks = locks_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let blocklist = blocklist_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let transfer = transfer_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let outbox = outbox_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let buckets = buckets_cases().into_iter().map(|case| [case.name, case.method, case.contract]);
    let stores = store.chain(outbox).chain(buckets).chain(blocklist).chain(transfer);
    stores.chain(routes).chain(bus).chain(locks).collect()
}

#[test]
fn every_contract_line_is_tried_by_a_case() {
    let contracts = docs().contracts;
    assert!(contracts.len() > 35, "found only {contracts:?}");
    for (method, line) in contracts {
        let tried = cases().iter().any(|[_, of, quote]| *of == method && line.contains(quote));
        assert!(tried, "no case tries this line of {method}: {line}");
    }
}

#[test]
fn every_case_quotes_its_methods_documentation() {
    let promises = docs().promises;
    for [name, method, quote] in cases() {
        let found = promises.iter().any(|(of, text)| of == method && text.contains(quote));
        assert!(found, "the docs of {method} do not say what {name} quotes: {quote}");
    }
}

#[test]
fn no_two_cases_share_a_name() {
    let mut names: Vec<_> = cases().iter().map(|[name, ..]| *name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
