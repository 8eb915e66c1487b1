//! Layout: reads which file uses which, from the `use` lines and from the paths in the code.
//!
//! Re-exports are followed to the file that defines the item. Files and modules for tests and
//! fuzzers are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A file by its module path, such as `broker::mailbox`; the crate's root is the empty string.
pub type Module = String;

/// The files that each file uses, itself not included.
pub type Imports = BTreeMap<Module, BTreeSet<Module>>;

type Segments = Vec<String>;

/// What one file says.
#[derive(Default)]
struct File {
    /// Names that `use` brings into scope, with the path that each stands for.
    names: BTreeMap<String, Segments>,
    /// The same of `pub use`.
    exports: BTreeMap<String, Segments>,
    /// Paths of two segments or more, in code and in private imports, with the module in which
    /// each stands.
    paths: Vec<Segments>,
}

/// Reads the crate whose root file lies in `sources`.
pub fn read(sources: &Path) -> Imports {
    let mut texts = BTreeMap::new();
    collect(sources, &mut Vec::new(), &mut texts);
    let modules: BTreeSet<Segments> = texts.keys().cloned().collect();
    let files: BTreeMap<Segments, File> = texts
        .iter()
        .map(|(module, text)| {
            let tokens: TokenStream = text.parse().unwrap();
            let mut file = File::default();
            scan(tokens, module, &modules, &mut file);
            (module.clone(), file)
        })
        .collect();
    let mut imports = Imports::new();
    for (module, file) in &files {
        let used = imports.entry(module.join("::")).or_default();
        for path in &file.paths {
            // The first name may be one that `use` brought into scope, or a module declared here.
            let absolute = match path[0].as_str() {
                "crate" => path[1..].to_vec(),
                first => match file.names.get(first) {
                    Some(start) => [start, &path[1..]].concat(),
                    None if is_child(module, first, &modules) => [module, &path[..]].concat(),
                    None => continue,
                },
            };
            let Some(target) = defined_in(&absolute, &files, 0) else { continue };
            if target != *module {
                used.insert(target.join("::"));
            }
        }
    }
    imports
}

/// Reads all files below `directory` but those of tests and fuzzers.
fn collect(directory: &Path, module: &mut Segments, texts: &mut BTreeMap<Segments, String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_root = ["lib", "mod"].contains(&stem.as_str());
        if ["main", "tests", "testing", "fuzzing"].contains(&stem.as_str()) {
            continue;
        }
        if !is_root {
            module.push(stem);
        }
        if path.is_dir() {
            collect(&path, module, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.insert(module.clone(), std::fs::read_to_string(&path).unwrap());
        }
        if !is_root {
            module.pop();
        }
    }
}

fn is_child(module: &Segments, name: &str, modules: &BTreeSet<Segments>) -> bool {
    let mut child = module.clone();
    child.push(name.to_owned());
    modules.contains(&child)
}

/// Returns the module of the file that defines the item at `path`.
fn defined_in(path: &Segments, files: &BTreeMap<Segments, File>, depth: usize) -> Option<Segments> {
    let held = (0..=path.len()).rev().find(|at| files.contains_key(&path[..*at]))?;
    let (module, rest) = path.split_at(held);
    let exported = rest.first().and_then(|name| files[module].exports.get(name));
    match exported {
        Some(target) if depth < 8 => defined_in(&[target, &rest[1..]].concat(), files, depth + 1),
        // The module itself, and no item of it.
        _ if rest.is_empty() => None,
        _ => Some(module.to_vec()),
    }
}

/// Notes what `tokens`, which stand in the module `here`, import and use.
fn scan(tokens: TokenStream, here: &Segments, modules: &BTreeSet<Segments>, file: &mut File) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    let (mut is_public, mut is_test) = (false, false);
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(hash) if hash.as_char() == '#' => {
                let attribute = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
                is_test |= attribute.replace(' ', "") == "[cfg(test)]";
                at += 2;
                continue;
            }
            TokenTree::Ident(word) if word == "pub" => {
                is_public = true;
                at += 1;
                let next = tokens.get(at);
                at += usize::from(matches!(next, Some(TokenTree::Group(_))));
                continue;
            }
            // `impl Trait + use<'a>` imports nothing.
            TokenTree::Ident(word)
                if word == "use" && !tokens.get(at + 1).is_some_and(|next| is(next, '<')) =>
            {
                let end = (at..tokens.len()).find(|i| is(&tokens[*i], ';')).unwrap();
                if !is_test {
                    let mut leaves = Vec::new();
                    tree(&tokens[at + 1..end], &[], &mut leaves);
                    for (path, name) in leaves {
                        import(path, name, is_public, here, modules, file);
                    }
                }
                at = end;
            }
            TokenTree::Ident(word) if word == "mod" => {
                if let (Some(name), Some(TokenTree::Group(body))) =
                    (tokens.get(at + 1), tokens.get(at + 2))
                {
                    if !is_test {
                        let inner = [&here[..], &[name.to_string()]].concat();
                        scan(body.stream(), &inner, modules, file);
                    }
                    at += 2;
                }
            }
            TokenTree::Ident(word) => {
                let mut path = vec![word.to_string()];
                while let [a, b, TokenTree::Ident(next)] = &tokens[at + 1..tokens.len().min(at + 4)]
                    && is(a, ':')
                    && is(b, ':')
                {
                    path.push(next.to_string());
                    at += 3;
                }
                if path.len() > 1
                    && let Some(path) = absolute(path, here, modules)
                {
                    file.paths.push(path);
                }
            }
            TokenTree::Group(group) => {
                let is_body = group.delimiter() == Delimiter::Brace;
                if !(is_body && is_test) {
                    scan(group.stream(), here, modules, file);
                }
            }
            _ => {}
        }
        let ends = is(&tokens[at], ';')
            || matches!(&tokens[at], TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        if ends {
            (is_public, is_test) = (false, false);
        }
        at += 1;
    }
}

fn is(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Flattens a `use` tree into paths, each with the name that it brings into scope.
fn tree(tokens: &[TokenTree], before: &[String], leaves: &mut Vec<(Segments, String)>) {
    let mut path = before.to_vec();
    let mut name = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                name = tokens.get(at + 1).map(ToString::to_string);
                break;
            }
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Punct(star) if star.as_char() == '*' => path.push("*".to_owned()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| is(token, ',')) {
                    if !part.is_empty() {
                        tree(part, &path, leaves);
                    }
                }
                return;
            }
            _ => {}
        }
    }
    if path.last().is_some_and(|last| last == "self" && path.len() > 1) {
        path.pop();
    }
    let last = path.last().cloned().unwrap_or_default();
    leaves.push((path, name.unwrap_or(last)));
}

fn import(
    path: Segments,
    name: String,
    is_public: bool,
    here: &Segments,
    modules: &BTreeSet<Segments>,
    file: &mut File,
) {
    let Some(path) = absolute(path, here, modules) else { return };
    if path[0] != "crate" {
        return;
    }
    if is_public {
        file.exports.insert(name, path[1..].to_vec());
    } else {
        file.names.insert(name, path[1..].to_vec());
        file.paths.push(path);
    }
}

/// Makes `super`, `self` and the names of child modules absolute. Other paths stay as they are.
fn absolute(path: Segments, here: &Segments, modules: &BTreeSet<Segments>) -> Option<Segments> {
    let mut module = here.clone();
    let mut rest = &path[..];
    match rest[0].as_str() {
        "super" | "self" => {
            while let Some((first, more)) = rest.split_first()
                && (first == "super" || first == "self")
            {
                if first == "super" {
                    module.pop()?;
                }
                rest = more;
            }
        }
        first if is_child(here, first, modules) => {}
        _ => return Some(path),
    }
    Some([&["crate".to_owned()][..], &module, rest].concat())
}
