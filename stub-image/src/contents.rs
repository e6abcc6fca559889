// SPDX-License-Identifier: GPL-3.0-only
//! What a root filesystem holds beyond QEMU: programs, files, and libraries that are opened at run time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::closure::Options;
use crate::collector::Collector;
use crate::tree::Links;
use crate::{ImageError, Root, Tree};

/// What to collect, and how.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    /// Programs, with all that they are linked with.
    pub programs: Vec<PathBuf>,
    /// Files that are taken as they are.
    pub files: Vec<PathBuf>,
    /// Libraries that programs open at run time, and variants.
    pub libraries: Options,
    /// What becomes of symbolic links.
    pub links: Links,
    /// Who follows the programs' needs.
    pub collector: Collector,
}

impl Contents {
    /// Adds what the list `path` names: lines `program PATH`, `file PATH`, `opens LIBRARY`; `#` begins a remark.
    pub fn read_list(&mut self, path: &Path) -> Result<(), ImageError> {
        let text = fs::read_to_string(path).map_err(ImageError::file("reading", path))?;
        for (line, number) in text.lines().zip(1..) {
            let words = line.split('#').next().unwrap_or_default().trim();
            match words.split_once(char::is_whitespace).map(|(kind, rest)| (kind, rest.trim())) {
                Some(("program", program)) => self.programs.push(program.into()),
                Some(("file", file)) => self.files.push(file.into()),
                Some(("opens", library)) => self.libraries.opened.push(library.to_owned()),
                None if words.is_empty() => {}
                _ => {
                    let found = line.to_owned();
                    return Err(ImageError::List { path: path.to_owned(), line: number, found });
                }
            }
        }
        Ok(())
    }

    /// Collects it from `root`, `programs` first, which `by` needs.
    pub fn collect(&self, root: &Root, programs: &[PathBuf], by: &str) -> Result<Tree, ImageError> {
        let mut tree = Tree::with_links(self.links);
        self.collector.programs(&mut tree, root, programs, by, &self.libraries)?;
        // The libraries that are named are opened by the programs that come first.
        let others = Options { opened: Vec::new(), ..self.libraries.clone() };
        self.collector.programs(&mut tree, root, &self.programs, ASKED, &others)?;
        for file in &self.files {
            self.collector.file(&mut tree, root, file, ASKED)?;
        }
        Ok(tree)
    }
}

/// Who needs what the user named.
const ASKED: &str = "who built the image";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_names_programs_files_and_opened_libraries() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        fs::write(&list, "# ours\nprogram /bin/a\n\n file\t/etc/b c # why\nopens libx.so.1\n").unwrap();
        let mut contents = Contents::default();
        contents.read_list(&list).unwrap();
        assert_eq!(contents.programs, [PathBuf::from("/bin/a")]);
        assert_eq!(contents.files, [PathBuf::from("/etc/b c")]);
        assert_eq!(contents.libraries.opened, ["libx.so.1"]);
    }

    #[test]
    fn a_line_that_says_something_else_is_refused_with_its_number() {
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        for line in ["prog /bin/a", "program", "/bin/a"] {
            fs::write(&list, format!("file /x\n{line}\n")).unwrap();
            let error = Contents::default().read_list(&list).unwrap_err().to_string();
            assert!(error.contains("list:2: expected") && error.contains(line), "{error}");
        }
    }
}
