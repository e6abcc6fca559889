// SPDX-License-Identifier: GPL-3.0-only
//! The list of kernel modules that a ramdisk carries: one a line, in the order of loading, `path parameters…`.

/// Where the list is. A root filesystem has none, which is how PID 1 knows in which of the two it runs.
pub const MODULES: &str = "/modules";

/// Where the ramdisk says which filesystem the root filesystem has; EROFS if it does not say.
pub const ROOTFS: &str = "/rootfs";
/// What it says if there is none: the ramdisk itself has everything.
pub const ITSELF: &str = "ramdisk";

/// One kernel module to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Absolute path in the ramdisk, without blanks.
    pub path: String,
    /// What the kernel gets as its parameters, often nothing.
    pub parameters: String,
}

/// What goes into the list.
pub fn encode(modules: &[Module]) -> String {
    modules
        .iter()
        .map(|module| format!("{} {}", module.path, module.parameters).trim_end().to_owned() + "\n")
        .collect()
}

/// Reads the list; empty lines are dropped.
pub fn parse(text: &str) -> Vec<Module> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (path, parameters) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            Module { path: path.to_owned(), parameters: parameters.trim().to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_back_in_its_order() {
        let module =
            |path: &str, parameters: &str| Module { path: path.into(), parameters: parameters.into() };
        let list = [module("/b.ko", ""), module("/a.ko", "unrestricted=1 limit=2")];
        assert_eq!(encode(&list), "/b.ko\n/a.ko unrestricted=1 limit=2\n");
        assert_eq!(parse(&encode(&list)), list);
        assert_eq!(parse("\n  \n/b.ko  \n"), list[..1]);
    }
}
