//! Reads the sources and fails where a module uses a level that it may not see, or where `unsafe` is out of place or
//! unexplained.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// What the modules of a level may use: other modules of the crate, and crates that are not for everybody.
struct Rule {
    module: &'static str,
    uses: &'static [&'static str],
    crates: &'static [&'static str],
}

const fn rule(module: &'static str, uses: &'static [&'static str], crates: &'static [&'static str]) -> Rule {
    Rule { module, uses, crates }
}

/// Every module at the top of `src/`. A module that is missing here fails the test: say where it belongs.
/// `module::Item` allows that item alone.
const RULES: &[Rule] = &[
    rule("error", &[], &[]),
    rule("tuning", &[], &[]),
    rule("kernels", &["error", "tuning"], &["bytemuck", "libc"]),
    rule("memory", &["error", "kernels"], &[]),
    rule("geometry", &["error", "memory"], &[]),
    rule("rng", &["error", "kernels", "memory"], &[]),
    rule("parallel", &["error", "kernels", "memory", "tuning"], &["num_cpus", "rayon", "rustix"]),
    rule("arrays", &[], &[]),
    rule("storage", &["arrays", "error"], &["bytemuck", "crc32fast", "safetensors", "tempfile"]),
    // The algorithms. Epilogue, scratch and column sums are conv's, and shared by its siblings.
    rule("cuts", &["parallel", "tuning"], &[]),
    rule("conv", &["error", "geometry", "kernels", "memory", "parallel", "rng", "tuning"], &[]),
    rule("activation", &["error", "geometry", "kernels", "memory", "parallel", "rng"], &[]),
    rule("dense", &["conv", "error", "geometry", "kernels", "memory", "parallel", "rng"], &[]),
    rule("pool", &["conv", "error", "geometry", "kernels", "memory", "parallel", "rng", "tuning"], &[]),
    rule("norm", &["conv", "error", "geometry", "kernels", "memory", "parallel", "rng"], &[]),
    rule("pad", &["conv", "error", "geometry", "kernels", "memory", "parallel", "rng"], &[]),
    rule("resize", &["conv", "error", "geometry", "kernels", "memory", "parallel", "rng"], &[]),
    // Two doors to the algorithms, which do not know each other.
    rule(
        "ops",
        &[
            "activation",
            "conv",
            "cuts",
            "dense",
            "error",
            "geometry",
            "kernels",
            "memory",
            "norm",
            "pad",
            "parallel",
            "pool",
            "resize",
            "rng",
            "tuning",
        ],
        &["ndarray"],
    ),
    rule(
        "engine",
        &[
            "activation",
            "arrays",
            "conv",
            "cuts",
            "dense",
            "error",
            "geometry",
            "kernels",
            "memory",
            "norm",
            "pad",
            "parallel",
            "pool",
            "resize",
            "rng",
            "storage",
            "tuning",
        ],
        &["bytemuck"],
    ),
    rule(
        "python",
        &[
            "engine",
            "error",
            "geometry",
            "kernels::Element",
            "kernels::Tier",
            "memory",
            "ops",
            "parallel",
            "rng",
            "storage",
            "tuning",
        ],
        &["ndarray", "numpy", "pyo3"],
    ),
    // Tests and benches only: no other row names it.
    rule("reference", &["error", "geometry", "kernels"], &[]),
];

/// Crates that have one home.
const EXTERNAL_CRATES: &[&str] = &[
    "bytemuck",
    "crc32fast",
    "libc",
    "ndarray",
    "num_cpus",
    "numpy",
    "pyo3",
    "rayon",
    "rustix",
    "safetensors",
    "tempfile",
];

/// Where `unsafe` may be written.
const UNSAFE_HOMES: &[&str] = &["kernels/", "parallel.rs"];

/// A word, `::`, a literal or one other character, with its line (from 0).
#[derive(Debug, Clone, PartialEq)]
struct Token {
    text: String,
    line: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The tokens of a file, those within macros too.
fn tokens_of(source: &str) -> Vec<Token> {
    fn flatten(stream: TokenStream, tokens: &mut Vec<Token>) {
        let mut joint = false;
        for tree in stream {
            let line = tree.span().start().line - 1;
            let joins = std::mem::take(&mut joint);
            let text = match tree {
                TokenTree::Group(group) => {
                    let [open, close] = match group.delimiter() {
                        Delimiter::Brace => ["{", "}"],
                        Delimiter::Bracket => ["[", "]"],
                        Delimiter::Parenthesis => ["(", ")"],
                        Delimiter::None => ["", ""],
                    };
                    tokens.push(Token { text: open.to_string(), line });
                    flatten(group.stream(), tokens);
                    let line = group.span_close().start().line - 1;
                    tokens.push(Token { text: close.to_string(), line });
                    continue;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    if joins && let Some(last) = tokens.last_mut() {
                        last.text.push(':');
                        continue;
                    }
                    joint = punct.spacing() == Spacing::Joint;
                    ":".to_string()
                }
                other => other.to_string(),
            };
            tokens.push(Token { text, line });
        }
    }
    let mut tokens = Vec::new();
    flatten(source.parse().unwrap_or_else(|error| panic!("not Rust: {error}")), &mut tokens);
    tokens
}

/// Tokens without the modules that only tests compile.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let is = |i: usize, text: &str| tokens.get(i).is_some_and(|t| t.text == text);
    let mut kept = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let header = ["#", "[", "cfg", "(", "test", ")", "]"];
        let mark = header.iter().enumerate().all(|(k, text)| is(i + k, text));
        if mark && is(i + header.len(), "mod") && is(i + header.len() + 2, "{") {
            i = closing(tokens, i + header.len() + 2) + 1;
        } else {
            kept.push(tokens[i].clone());
            i += 1;
        }
    }
    kept
}

/// Index of the brace that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    tokens.len()
}

/// Adds the paths of the tree at `i`, nested braces resolved; gives the index behind it.
fn tree(tokens: &[Token], mut i: usize, prefix: &[String], paths: &mut Vec<(Vec<String>, usize)>) -> usize {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut path = prefix.to_vec();
    if text(i) == "{" {
        let end = closing(tokens, i);
        i += 1;
        while i < end {
            i = tree(tokens, i, prefix, paths);
            if text(i) == "as" {
                i += 2;
            }
            i += usize::from(text(i) == ",");
        }
        return end + 1;
    }
    if !(text(i) == "*" || text(i).starts_with(is_word)) {
        return i + 1;
    }
    let line = tokens[i].line;
    path.push(text(i).to_string());
    if text(i + 1) == "::" && text(i + 2) != "<" {
        return tree(tokens, i + 2, &path, paths);
    }
    paths.push((path, line));
    i + 1
}

/// The paths from the root of the crate that a file names, with their lines. `module` is where the file is.
fn crate_paths(tokens: &[Token], module: &[String]) -> Vec<(Vec<String>, usize)> {
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut paths = Vec::new();
    let mut here = module.to_vec();
    // For each open brace, whether it belongs to a module.
    let mut braces = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        match text(i) {
            "{" => {
                let inline = i >= 2 && text(i - 2) == "mod";
                if inline {
                    here.push(text(i - 1).to_string());
                }
                braces.push(inline);
            }
            "}" if braces.pop() == Some(true) => {
                here.pop();
            }
            "crate" if text(i + 1) == "::" => {
                i = tree(tokens, i + 2, &[], &mut paths);
                continue;
            }
            "super" if text(i + 1) == "::" => {
                let mut base = here.clone();
                while text(i) == "super" && text(i + 1) == "::" {
                    base.pop();
                    i += 2;
                }
                i = tree(tokens, i, &base, &mut paths);
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    paths
}

/// Levels that a file uses and may not.
fn layering_problems(file: &str, source: &str) -> Vec<String> {
    let module: Vec<String> =
        file.trim_end_matches(".rs").split('/').filter(|part| *part != "mod").map(str::to_string).collect();
    let Some(rule) = RULES.iter().find(|rule| rule.module == module[0]) else {
        return vec![format!("{file}: no rule for the module {}", module[0])];
    };
    let tokens = without_tests(&tokens_of(source));
    let mut problems = Vec::new();
    for (path, line) in crate_paths(&tokens, &module) {
        let used = match path[0].as_str() {
            // What lib.rs exports again.
            "Error" | "Result" => "error",
            name => name,
        };
        let item = format!("{used}::{}", path.get(1).map_or("", String::as_str));
        if used != rule.module && !rule.uses.contains(&used) && !rule.uses.contains(&item.as_str()) {
            problems.push(format!("{file}:{}: {} may not use {}", line + 1, rule.module, path.join("::")));
        }
    }
    for pair in tokens.windows(2) {
        let name = pair[0].text.as_str();
        if pair[1].text == "::" && EXTERNAL_CRATES.contains(&name) && !rule.crates.contains(&name) {
            problems.push(format!(
                "{file}:{}: {} may not use the crate {name}",
                pair[0].line + 1,
                rule.module
            ));
        }
    }
    problems
}

/// Whether one of the comments above a line, at most `most` lines of code away, holds `mark`.
fn explained(lines: &[&str], line: usize, most: usize, mark: &str) -> bool {
    let mut code = 0;
    for text in lines[..line].iter().rev().map(|text| text.trim()) {
        if text.starts_with("//") {
            if text.contains(mark) {
                return true;
            }
        } else if !text.starts_with("#[") && !text.starts_with("$(#[") {
            code += 1;
            if code > most || text.contains("unsafe") {
                return false;
            }
        }
    }
    false
}

/// `unsafe` in the wrong place, or without its reason.
fn unsafe_problems(file: &str, source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().collect();
    let tokens = tokens_of(source);
    let text = |i: usize| tokens.get(i).map_or("", |t| t.text.as_str());
    let mut problems = Vec::new();
    // For each open brace, whether it is the body of the implementation of a trait.
    let mut braces = Vec::new();
    let mut header = 0;
    for i in 0..tokens.len() {
        match text(i) {
            "{" => {
                let words = &tokens[header..i];
                let has = |word: &str| words.iter().any(|t| t.text == word);
                braces.push(has("impl") && has("for"));
            }
            "}" => {
                braces.pop();
            }
            _ => {}
        }
        if matches!(text(i), "{" | "}" | ";") {
            header = i + 1;
        }
        if text(i) != "unsafe" {
            continue;
        }
        let line = tokens[i].line;
        let place = format!("{file}:{}", line + 1);
        if !UNSAFE_HOMES.iter().any(|home| file.starts_with(home)) {
            problems.push(format!("{place}: unsafe outside of {UNSAFE_HOMES:?}"));
        }
        let declares = matches!(text(i + 1), "fn" | "trait" | "extern");
        let in_trait = braces.last() == Some(&true);
        if text(i + 1) == "fn" && text(i + 2) == "(" || declares && in_trait {
            // The type of a pointer; a method whose contract stands in its trait.
            continue;
        }
        let fine = if declares {
            explained(&lines, line, 0, "# Safety")
        } else {
            lines[line].contains("// SAFETY:") || explained(&lines, line, 3, "SAFETY:")
        };
        if !fine {
            let missing = if declares { "# Safety section" } else { "SAFETY comment" };
            problems.push(format!("{place}: no {missing}"));
        }
    }
    problems
}

/// The sources below a folder, as (path from `src`, text).
fn sources(folder: &Path, prefix: &str, all: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a UTF-8 name").to_string();
        if path.is_dir() {
            sources(&path, &format!("{prefix}{name}/"), all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            all.push((format!("{prefix}{name}"), text));
        }
    }
}

fn all_sources() -> Vec<(String, String)> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut all);
    assert!(all.iter().any(|(file, _)| file == "lib.rs"), "no sources found");
    all.sort();
    all
}

#[test]
fn no_module_uses_a_level_that_it_may_not_see() {
    let problems: Vec<String> = all_sources()
        .iter()
        // lib.rs lists the modules; files of tests may use anything.
        .filter(|(file, _)| file != "lib.rs" && !file.ends_with("tests.rs"))
        .flat_map(|(file, source)| layering_problems(file, source))
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn unsafe_is_in_its_place_and_explained() {
    let problems: Vec<String> =
        all_sources().iter().flat_map(|(file, source)| unsafe_problems(file, source)).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_rules_have_no_cycle() {
    let mut settled = BTreeSet::new();
    for _ in RULES {
        for rule in RULES {
            let module = |used: &&str| used.split("::").next().expect("a name").to_string();
            if rule.uses.iter().map(module).all(|used| settled.contains(&used)) {
                settled.insert(rule.module.to_string());
            }
        }
    }
    let left: Vec<&str> = RULES.iter().map(|r| r.module).filter(|m| !settled.contains(*m)).collect();
    assert!(left.is_empty(), "{left:?} use each other, or modules without a rule");
}

/// What the checks must find, and what they must leave alone.
#[test]
fn the_checks_bite() {
    let found = |file: &str, source: &str| layering_problems(file, source).len();
    assert_eq!(found("kernels/x.rs", "use crate::geometry::Axis;"), 1);
    assert_eq!(
        found("kernels/x/y.rs", "use super::super::super::{error::Error, conv::{self, Scratch as S}};"),
        2
    );
    assert_eq!(found("kernels/x.rs", "use super::super::engine::Network;"), 1);
    assert_eq!(found("kernels.rs", "mod inner { use super::super::engine; use super::lanes; }"), 1);
    assert_eq!(
        found("engine/mod.rs", "fn f(x: &crate::reference::MaxPool) { crate::ops::pool::<f32>(x) }"),
        2
    );
    assert_eq!(found("engine/mod.rs", "use ndarray::prelude::*; use pyo3::Python;"), 2);
    assert_eq!(found("python/mod.rs", "use crate::kernels::{Element, Product, Tier};"), 1);
    assert_eq!(found("nowhere.rs", ""), 1);
    assert_eq!(
        found("conv/rows.rs", "use super::band; use crate::{Error, kernels::{self, pack}}; use std::ops;"),
        0
    );
    assert_eq!(found("rng.rs", "// crate::engine\nconst A: &str = \"crate::engine\"; /* crate::ops */"), 0);
    assert_eq!(found("rng.rs", "fn f<'a>(c: char) -> bool { c == '\"' }\n// \" crate::engine"), 0);
    assert_eq!(found("rng.rs", "const A: &str = r#\"\" crate::engine\"#;"), 0);
    assert_eq!(found("conv/mod.rs", "#[cfg(test)]\nmod tests { use crate::reference; fn f() {} }"), 0);

    let found = |file: &str, source: &str| unsafe_problems(file, source).len();
    let explained = "// SAFETY: because.\nlet x = unsafe { f() };";
    assert_eq!(found("conv/rows.rs", explained), 1);
    assert_eq!(found("kernels/x.rs", explained), 0);
    assert_eq!(found("kernels/x.rs", "let x = unsafe { f() };"), 1);
    assert_eq!(found("kernels/x.rs", "// SAFETY: one reason,\nunsafe { f() };\nunsafe { g() };"), 1);
    assert_eq!(found("kernels/x.rs", "unsafe impl Send for X {}"), 1);
    assert_eq!(found("kernels/x.rs", "unsafe fn f() {}"), 1);
    assert_eq!(found("kernels/x.rs", "/// # Safety\n/// Never.\n#[inline]\npub unsafe fn f() {}"), 0);
    assert_eq!(found("kernels/x.rs", "impl Lanes for F32 { unsafe fn zero() {} }"), 0);
    assert_eq!(found("kernels/x.rs", "struct S { f: unsafe fn(usize) } // unsafe {}"), 0);
}
