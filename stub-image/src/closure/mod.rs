// SPDX-License-Identifier: GPL-3.0-only
//! The libraries that a program is linked with and those it opens, found as its dynamic loader finds them.
//!
//! glibc's loader, for each needed name: `DT_RPATH` of the object and of those that led to it (unless the object has a
//! `DT_RUNPATH`; one that has both has only that), its `DT_RUNPATH`, `ld.so.cache`, the loader's own directories.
//! musl's: either tag of the object and of those that led to it, then `ld-musl-ARCH.path`. The image has no
//! `ld.so.cache`, so a library that only the cache leads to gets a link in a directory of the loader's own.
//!
//! Variants of a library for newer CPUs (`glibc-hwcaps/x86-64-v3/…`) stay out unless [`Options::hwcaps`] asks for
//! them: the loader takes the baseline where no variant is, it works on every CPU, and the machine that builds an
//! image is not the one that runs it.

mod cache;
mod loader;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};

use crate::elf::{self, Dynamic};
use crate::tree::{Mode, Node};
use crate::{ImageError, Root, Tree};
use loader::{Libc, Loader};

/// Where a directory has its variants for newer CPUs.
const HWCAPS: &str = "glibc-hwcaps/*";
/// Its directory gets the links to what only the cache leads to.
const LIBC: &str = "libc.so.6";

/// What goes beyond the libraries that a program is linked with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Libraries that it opens at run time, by name or absolute path.
    pub opened: Vec<String>,
    /// Whether variants for newer CPUs come along.
    pub hwcaps: bool,
}

/// A file of the closure whose own needs are still to be followed.
#[derive(Debug)]
struct Object {
    /// Its path inside the root, without links.
    path: PathBuf,
    dynamic: Dynamic,
    /// Where those that led here say to look, nearest first, `$ORIGIN` replaced.
    inherited: Vec<PathBuf>,
}

/// A place where a library may be.
struct Candidate {
    path: PathBuf,
    /// Whether only the cache leads there.
    cached: bool,
}

/// Adds `program`, which `by` needs, and everything it needs itself; gives the libraries' names and where they are.
pub fn add(
    tree: &mut Tree,
    root: &Root,
    program: &Path,
    by: &str,
    options: &Options,
) -> Result<BTreeMap<String, PathBuf>, ImageError> {
    let first = open(root, program, Vec::new())?.ok_or_else(|| ImageError::Missing {
        what: "the program",
        searched: vec![program.to_owned()],
        root: root.directory().to_owned(),
        help: "check the path",
    })?;
    tree.add_from(root, program, Mode::Program, by)?;
    let loader = Loader::read(root, first.dynamic.interpreter.as_deref())?;
    if let Some(path) = &loader.path {
        let name = first.path.to_string_lossy();
        if !tree.add_from(root, path, Mode::Program, &name)? {
            return Err(missing(&path.to_string_lossy(), &first.path, Vec::new()));
        }
        if let Some(config) = &loader.config {
            tree.add_from(root, config, Mode::Data, &path.to_string_lossy())?;
        }
    }
    let mut walk = Walk {
        tree,
        root,
        loader,
        hwcaps: options.hwcaps,
        machine: first.dynamic.machine,
        found: BTreeMap::new(),
        sonames: BTreeMap::new(),
        cached: BTreeSet::new(),
        queue: VecDeque::new(),
    };
    walk.follow(&first)?;
    for name in &options.opened {
        walk.need(name, &first)?;
    }
    while let Some(object) = walk.queue.pop_front() {
        walk.follow(&object)?;
    }
    walk.link_cached()?;
    Ok(walk.found)
}

struct Walk<'a> {
    tree: &'a mut Tree,
    root: &'a Root,
    loader: Loader,
    hwcaps: bool,
    /// Machine and class of the program.
    machine: (u16, bool),
    found: BTreeMap<String, PathBuf>,
    /// What libraries that were found under another name call themselves.
    sonames: BTreeMap<String, PathBuf>,
    /// The names that only the cache led to.
    cached: BTreeSet<String>,
    queue: VecDeque<Object>,
}

impl Walk<'_> {
    fn follow(&mut self, object: &Object) -> Result<(), ImageError> {
        for name in &object.dynamic.needed {
            self.need(name, object)?;
        }
        if self.loader.libc == Libc::Gnu {
            for rule in rules::that_apply(&object.dynamic) {
                if !self.libc_exports(rule.unless)? {
                    self.need(rule.opens, object)?;
                }
            }
        }
        Ok(())
    }

    /// Finds the library `name` for `object`, unless somebody needed it before.
    fn need(&mut self, name: &str, object: &Object) -> Result<(), ImageError> {
        let by = object.path.to_string_lossy();
        if let Some(path) = self.loader.path.as_ref().filter(|_| self.loader.is(name)) {
            return self.tree.need_from(self.root, path, &by);
        }
        // The loader, too, has one object for a name, whoever needs it first.
        if let Some(path) = self.found.get(name).or_else(|| self.sonames.get(name)) {
            return self.tree.need_from(self.root, path, &by);
        }
        let own = self.inherited_from(object);
        let candidates = self.candidates(name, object, &own);
        for candidate in &candidates {
            let Some(library) = self.fitting(&candidate.path, &own)? else { continue };
            self.tree.add_from(self.root, &candidate.path, Mode::Program, &by)?;
            if let Some(soname) = library.dynamic.soname.as_ref().filter(|soname| *soname != name) {
                self.sonames.insert(soname.clone(), candidate.path.clone());
            }
            if candidate.cached {
                self.cached.insert(name.to_owned());
            }
            self.found.insert(name.to_owned(), candidate.path.clone());
            self.queue.push_back(library);
            return if self.hwcaps { self.variants(name, &candidates, &own, &by) } else { Ok(()) };
        }
        let mut searched: Vec<PathBuf> = Vec::new();
        for directory in candidates.iter().filter_map(|candidate| candidate.path.parent()) {
            if !searched.iter().any(|seen| seen == directory) {
                searched.push(directory.to_owned());
            }
        }
        Err(missing(name, &object.path, searched))
    }

    /// Adds what newer CPUs would load in place of the library `name`.
    fn variants(
        &mut self,
        name: &str,
        candidates: &[Candidate],
        own: &[PathBuf],
        by: &str,
    ) -> Result<(), ImageError> {
        let directories: BTreeSet<&Path> =
            candidates.iter().filter_map(|candidate| candidate.path.parent()).collect();
        for directory in directories {
            for path in self.root.glob(&directory.join(HWCAPS).join(name))? {
                let Some(library) = self.fitting(&path, own)? else { continue };
                self.tree.add_from(self.root, &path, Mode::Program, by)?;
                self.queue.push_back(library);
            }
        }
        Ok(())
    }

    /// The library at `path` if there is one for the program's machine.
    fn fitting(&self, path: &Path, own: &[PathBuf]) -> Result<Option<Object>, ImageError> {
        let library = open(self.root, path, own.to_vec())?;
        Ok(library.filter(|library| library.dynamic.machine == self.machine))
    }

    /// Where what `object` needs inherits to look first.
    fn inherited_from(&self, object: &Object) -> Vec<PathBuf> {
        let Dynamic { rpath, runpath, .. } = &object.dynamic;
        let tags = match self.loader.libc {
            Libc::Gnu if runpath.is_empty() => rpath.as_slice(),
            Libc::Gnu => &[],
            Libc::Musl if runpath.is_empty() => rpath.as_slice(),
            Libc::Musl => runpath.as_slice(),
        };
        let mut own: Vec<PathBuf> = tags.iter().map(|entry| self.expand(entry, object)).collect();
        own.extend(object.inherited.iter().cloned());
        own
    }

    /// Every place to look at, in order.
    fn candidates(&self, name: &str, object: &Object, own: &[PathBuf]) -> Vec<Candidate> {
        let Loader { libc, cache, configured, directories, .. } = &self.loader;
        let Dynamic { runpath, no_defaults, .. } = &object.dynamic;
        if name.contains('/') {
            return vec![Candidate { path: self.expand(name, object), cached: false }];
        }
        let first: Vec<PathBuf> = if *libc == Libc::Gnu && !runpath.is_empty() {
            runpath.iter().map(|entry| self.expand(entry, object)).collect()
        } else {
            own.to_vec()
        };
        let is_own =
            |path: &Path| path.parent().is_some_and(|parent| directories.iter().any(|own| own == parent));
        let in_cache = cache.iter().filter(|cached| cached.name == name && !cached.variant);
        let led = in_cache
            .map(|cached| cached.path.clone())
            .chain(configured.iter().map(|directory| directory.join(name)))
            .map(|path| Candidate { cached: !is_own(&path), path })
            .filter(|candidate| candidate.cached || !no_defaults);
        let last = directories.iter().filter(|_| !no_defaults);
        let plain = |directory: &PathBuf| Candidate { path: directory.join(name), cached: false };
        first.iter().map(plain).chain(led).chain(last.map(plain)).collect()
    }

    /// An entry of a search path with what the loader puts in place of its variables.
    fn expand(&self, entry: &str, object: &Object) -> PathBuf {
        let origin = object.path.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let values = [("ORIGIN", origin.as_ref()), ("LIB", &self.loader.lib()), ("PLATFORM", "x86_64")];
        let mut text = entry.to_owned();
        for (name, value) in values {
            text = text.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
        text.into()
    }

    fn libc_exports(&self, symbol: Option<&str>) -> Result<bool, ImageError> {
        let (Some(symbol), Some(libc)) = (symbol, self.found.get(LIBC)) else { return Ok(false) };
        let bytes = self.root.read(libc)?.unwrap_or_default();
        elf::exports(&self.root.outer(libc), &bytes, symbol)
    }

    /// Links what the loader would only find through the cache that the image does not have.
    fn link_cached(&mut self) -> Result<(), ImageError> {
        let Some(beside) = self.found.get(LIBC).and_then(|libc| libc.parent()) else { return Ok(()) };
        let Some(beside) = self.root.resolve(beside)? else { return Ok(()) };
        for name in &self.cached {
            let (path, link) = (&self.found[name], beside.path.join(name));
            let by: Vec<String> = self.tree.needed_by(path).map(str::to_owned).collect();
            self.tree.add(&link, Node::Link(path.clone()))?;
            by.into_iter().for_each(|by| self.tree.need(&link, by));
        }
        Ok(())
    }
}

fn open(root: &Root, path: &Path, inherited: Vec<PathBuf>) -> Result<Option<Object>, ImageError> {
    let Some(resolved) = root.resolve(path)? else { return Ok(None) };
    let outer = root.outer(&resolved.path);
    let Some(bytes) = root.read(&resolved.path)? else { return Ok(None) };
    let dynamic = elf::read(&outer, &bytes)?;
    Ok(Some(Object { path: resolved.path, dynamic, inherited }))
}

fn missing(library: &str, needed_by: &Path, searched: Vec<PathBuf>) -> ImageError {
    ImageError::MissingLibrary { library: library.to_owned(), needed_by: needed_by.to_owned(), searched }
}

#[cfg(test)]
mod tests;
