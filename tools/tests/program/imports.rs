//! No circle of imports between files is so large that nobody can read one of them without the others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::{Attribute, File, Item, UseTree, Visibility};

/// Files of a circle, at most.
const CIRCLE_MAX: usize = 4;
const CRATES: [&str; 8] = ["engine", "net", "net/proto", "net/verbs", "net/client", "pmem", "bench", "tools"];

/// Where a file lies in its crate, as a path of modules.
type Module = Vec<String>;

fn is_test(attribute: &Attribute) -> bool {
    let is_cfg = attribute.path().is_ident("cfg");
    is_cfg
        && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string().contains("test") || list.tokens.to_string().contains("doc"))
}

fn is_private(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Inherited)
}

/// The files of a folder of sources, without those that are compiled for tests alone.
fn modules(folder: &Path, at: &[String], file: &File, found: &mut BTreeMap<Module, Vec<Module>>) {
    let mut uses = Vec::new();
    for item in &file.items {
        match item {
            Item::Use(import) if is_private(&import.vis) && !import.attrs.iter().any(is_test) => {
                paths(&import.tree, &mut Vec::new(), &mut uses);
            }
            Item::Mod(module) if module.content.is_none() && !module.attrs.iter().any(is_test) => {
                let inner: Module = at.iter().cloned().chain([module.ident.to_string()]).collect();
                let text = std::fs::read_to_string(path_of(folder, &inner)).expect("a module's file");
                modules(folder, &inner, &syn::parse_file(&text).expect("a file of Rust"), found);
            }
            _ => {}
        }
    }
    found.insert(at.to_vec(), uses);
}

fn path_of(folder: &Path, module: &[String]) -> PathBuf {
    let stem = module.iter().fold(folder.to_owned(), |path, name| path.join(name));
    let flat = stem.with_extension("rs");
    if flat.exists() { flat } else { stem.join("mod.rs") }
}

/// Every path that an import names.
fn paths(tree: &UseTree, before: &mut Module, found: &mut Vec<Module>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            paths(&path.tree, before, found);
            before.pop();
        }
        UseTree::Group(group) => group.items.iter().for_each(|tree| paths(tree, before, found)),
        UseTree::Name(name) => found.push(before.iter().cloned().chain([name.ident.to_string()]).collect()),
        UseTree::Rename(name) => found.push(before.iter().cloned().chain([name.ident.to_string()]).collect()),
        UseTree::Glob(_) => found.push(before.clone()),
    }
}

/// The file that a path leads to, from the file at `from`. What a file hands on counts as its own.
fn target<'m>(from: &Module, path: &[String], all: &'m BTreeMap<Module, Vec<Module>>) -> Option<&'m Module> {
    let ups = path.iter().take_while(|name| *name == "super").count();
    let mut full: Module = match path.first()?.as_str() {
        "crate" => path[1..].to_vec(),
        "super" => from[..from.len().checked_sub(ups)?].iter().chain(&path[ups..]).cloned().collect(),
        "self" => from.iter().chain(&path[1..]).cloned().collect(),
        _ => from.iter().chain(path).cloned().collect(),
    };
    while !all.contains_key(&full) {
        full.pop();
    }
    all.get_key_value(&full).map(|(module, _)| module).filter(|module| *module != from && !module.is_empty())
}

/// Circles among files that import each other, the largest ones that there are.
fn circles(folder: &Path) -> Vec<BTreeSet<Module>> {
    let root = ["lib.rs", "main.rs"].map(|name| folder.join(name)).into_iter().find(|path| path.exists());
    let text = std::fs::read_to_string(root.expect("a root")).expect("a crate's root");
    let mut all = BTreeMap::new();
    modules(folder, &[], &syn::parse_file(&text).expect("a file of Rust"), &mut all);
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = all
        .keys()
        .map(|from| {
            let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
            while let Some(at) = next.pop() {
                let targets = all[at].iter().filter_map(|path| target(at, path, &all));
                next.extend(targets.filter(|to| seen.insert(*to)));
            }
            (from, seen)
        })
        .collect();
    let circle = |from: &Module| {
        let back = |to: &&&Module| reached[**to].contains(from);
        reached[from].iter().filter(back).map(|module| (*module).clone()).collect::<BTreeSet<_>>()
    };
    all.keys().map(circle).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn no_circle_of_imports_is_large() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tools/ lies in the repository");
    let mut seen = 0;
    for name in CRATES {
        for circle in circles(&root.join(name).join("src")) {
            let files: Vec<_> = circle.iter().map(|module| module.join("/")).collect();
            assert!(files.len() <= CIRCLE_MAX, "{name}: {files:?} import each other");
            seen += usize::from(files.len() > 1);
        }
    }
    assert!(seen > 0, "there are small ones, so these would be found");
}
