// SPDX-License-Identifier: GPL-3.0-only
//! Closures of small programs that are made on the spot, and of real ones.

use super::*;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::collector::Collector;
use crate::skipped::{ignored, labs_root};
use crate::tree::Links;

/// A root whose `/bin/program` needs `liba.so`, which needs `libb.so`; `cc` makes them, as small as it can.
struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(lab.at("bin")).unwrap();
        lab
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    /// Links `to`, against `needs`, with other arguments.
    fn link(&self, to: &str, needs: &[&str], arguments: &[&str]) {
        let source = self.at("empty.c");
        fs::write(&source, "int empty;").unwrap();
        self.compile(&source, to, needs, arguments);
    }

    fn compile(&self, source: &Path, to: &str, needs: &[&str], arguments: &[&str]) {
        let to = self.at(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        let soname = format!("-Wl,-soname,{}", to.file_name().unwrap().to_str().unwrap());
        let status = Command::new("cc")
            .args([
                "-nostdlib",
                "-shared",
                "-Wl,--no-as-needed",
                "-Wl,--allow-shlib-undefined",
                &soname,
                "-o",
            ])
            .arg(&to)
            .arg(source)
            .args(needs.iter().map(|need| self.at(need)))
            .args(arguments)
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// A program that calls `function`, which nobody need have.
    fn call(&self, to: &str, function: &str, needs: &[&str]) {
        let source = self.at("call.c");
        fs::write(&source, format!("void {function}(void); void start(void) {{ {function}(); }}")).unwrap();
        self.compile(&source, to, needs, &["-fPIC"]);
    }

    /// A library that has `symbol`.
    fn define(&self, to: &str, symbol: &str) {
        let source = self.at("define.c");
        fs::write(&source, format!("int {symbol};")).unwrap();
        self.compile(&source, to, &[], &[]);
    }

    fn add(&self, tree: &mut Tree, options: &Options) -> Result<BTreeMap<String, PathBuf>, ImageError> {
        add(tree, &Root::new(self.0.path()), Path::new("/bin/program"), "me", options)
    }

    fn closure(&self) -> (Tree, Result<BTreeMap<String, PathBuf>, ImageError>) {
        let mut tree = Tree::default();
        let found = self.add(&mut tree, &Options::default());
        (tree, found)
    }
}

fn paths(tree: &Tree) -> Vec<&str> {
    let files = tree.nodes().filter(|(_, node)| **node != Node::Dir);
    files.map(|(path, _)| path.to_str().unwrap()).collect()
}

#[test]
fn origin_and_chains_of_links_are_followed() {
    let lab = Lab::new();
    lab.link("opt/x/libb.so", &[], &[]);
    lab.link("opt/x/liba.so", &["opt/x/libb.so"], &["-Wl,--enable-new-dtags,-rpath,$ORIGIN"]);
    lab.link("bin/program", &["opt/x/liba.so"], &["-Wl,--enable-new-dtags,-rpath,/none:${ORIGIN}/../lib"]);
    symlink("opt/x", lab.at("really")).unwrap();
    symlink("/really", lab.at("lib")).unwrap();
    let (tree, found) = lab.closure();
    assert_eq!(found.unwrap()["libb.so"], Path::new("/opt/x/libb.so"));
    assert_eq!(paths(&tree), ["/bin/program", "/lib", "/opt/x/liba.so", "/opt/x/libb.so", "/really"]);
}

#[test]
fn rpath_is_inherited_and_runpath_is_not() {
    for (tags, inherited) in [("--disable-new-dtags", true), ("--enable-new-dtags", false)] {
        let lab = Lab::new();
        lab.link("deep/libb.so", &[], &[]);
        lab.link("deep/liba.so", &["deep/libb.so"], &[]);
        lab.link("bin/program", &["deep/liba.so"], &[&format!("-Wl,{tags},-rpath,/deep")]);
        assert_eq!(lab.closure().1.is_ok(), inherited, "{tags}");
    }
}

#[test]
fn a_missing_library_is_named_with_the_file_that_needs_it() {
    let lab = Lab::new();
    lab.link("lib/libb.so", &[], &[]);
    lab.link("lib/liba.so", &["lib/libb.so"], &[]);
    lab.link("bin/program", &["lib/liba.so"], &[]);
    fs::remove_file(lab.at("lib/libb.so")).unwrap();
    let error = lab.closure().1.unwrap_err().to_string();
    assert!(error.starts_with("/lib/liba.so needs libb.so, which is in none of"), "{error}");
}

#[test]
fn what_only_the_cache_would_find_gets_a_link_beside_libc() {
    let lab = Lab::new();
    lab.link("usr/local/lib/liba.so", &[], &[]);
    lab.link("lib/libc.so.6", &[], &[]);
    lab.link("bin/program", &["usr/local/lib/liba.so", "lib/libc.so.6"], &[]);
    fs::create_dir_all(lab.at("etc/ld.so.conf.d")).unwrap();
    fs::write(lab.at("etc/ld.so.conf"), "include /etc/ld.so.conf.d/*.conf\n").unwrap();
    fs::write(lab.at("etc/ld.so.conf.d/local.conf"), "# ours\n/usr/local/lib\n").unwrap();
    let (tree, found) = lab.closure();
    found.unwrap();
    assert_eq!(paths(&tree), ["/bin/program", "/lib/liba.so", "/lib/libc.so.6", "/usr/local/lib/liba.so"]);
}

#[test]
fn an_object_with_both_tags_has_only_the_newer_one() {
    let lab = Lab::new();
    lab.link("old/libb.so", &[], &[]);
    lab.link("new/liba.so", &["old/libb.so"], &[]);
    lab.link("bin/program", &["new/liba.so"], &["-Wl,--enable-new-dtags,-rpath,/new"]);
    assert!(lab.closure().1.is_err());
    // With DT_RPATH for DT_RUNPATH, what the program says counts for its libraries too.
    lab.link("bin/program", &["new/liba.so"], &["-Wl,--disable-new-dtags,-rpath,/new:/old"]);
    assert_eq!(lab.closure().1.unwrap()["libb.so"], Path::new("/old/libb.so"));
}

#[test]
fn the_cache_comes_before_the_loaders_directories_and_after_the_tags() {
    let lab = Lab::new();
    for place in ["opt/cached/liba.so", "usr/lib/liba.so", "opt/cached/libc.so.6", "own/libc.so.6"] {
        lab.link(place, &[], &[]);
    }
    lab.link(
        "bin/program",
        &["opt/cached/liba.so", "own/libc.so.6"],
        &["-Wl,--enable-new-dtags,-rpath,/own"],
    );
    fs::create_dir_all(lab.at("etc")).unwrap();
    fs::write(lab.at("etc/ld.so.conf"), "/opt/cached\n").unwrap();
    let status = Command::new("/sbin/ldconfig").arg("-r").arg(lab.at("")).status().unwrap();
    assert!(status.success());
    let (tree, found) = lab.closure();
    let found = found.unwrap();
    assert_eq!(found["liba.so"], Path::new("/opt/cached/liba.so"));
    assert_eq!(found["libc.so.6"], Path::new("/own/libc.so.6"));
    // The image has no cache, so the name is found beside libc there.
    assert_eq!(tree.get("/own/liba.so"), Some(&Node::Link("/opt/cached/liba.so".into())));
}

#[test]
fn variants_for_newer_processors_come_only_when_asked_for() {
    let lab = Lab::new();
    lab.link("usr/lib/libb.so", &[], &[]);
    lab.link("usr/lib/liba.so", &[], &[]);
    lab.link("usr/lib/glibc-hwcaps/x86-64-v3/liba.so", &["usr/lib/libb.so"], &[]);
    lab.link("bin/program", &["usr/lib/liba.so"], &[]);
    let collected = |hwcaps| {
        let mut tree = Tree::default();
        lab.add(&mut tree, &Options { hwcaps, ..Options::default() }).unwrap();
        paths(&tree).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(collected(false), ["/bin/program", "/usr/lib/liba.so"]);
    assert_eq!(
        collected(true),
        ["/bin/program", "/usr/lib/glibc-hwcaps/x86-64-v3/liba.so", "/usr/lib/liba.so", "/usr/lib/libb.so"]
    );
}

#[test]
fn a_library_for_another_machine_is_passed_over() {
    let lab = Lab::new();
    lab.link("opt/liba.so", &[], &[]);
    lab.link("usr/lib/liba.so", &[], &[]);
    lab.link("bin/program", &["usr/lib/liba.so"], &["-Wl,--enable-new-dtags,-rpath,/opt"]);
    let mut other = fs::read(lab.at("opt/liba.so")).unwrap();
    // AArch64 in place of x86-64.
    other[18] = 0xb7;
    fs::write(lab.at("opt/liba.so"), other).unwrap();
    assert_eq!(lab.closure().1.unwrap()["liba.so"], Path::new("/usr/lib/liba.so"));
}

#[test]
fn libraries_that_are_opened_at_run_time_are_named_or_follow_from_what_is_called() {
    let lab = Lab::new();
    for library in ["usr/lib/libopened.so.1", "opt/plugin.so", "usr/lib/libgcc_s.so.1", "usr/lib/libc.so.6"] {
        lab.link(library, &[], &[]);
    }
    lab.link("bin/program", &["usr/lib/libc.so.6"], &[]);
    let opened = vec!["libopened.so.1".to_owned(), "/opt/plugin.so".to_owned()];
    let mut tree = Tree::default();
    lab.add(&mut tree, &Options { opened, hwcaps: false }).unwrap();
    assert_eq!(
        paths(&tree),
        ["/bin/program", "/opt/plugin.so", "/usr/lib/libc.so.6", "/usr/lib/libopened.so.1"]
    );
    lab.call("bin/program", "pthread_exit", &["usr/lib/libc.so.6"]);
    let (tree, _) = lab.closure();
    assert_eq!(paths(&tree), ["/bin/program", "/usr/lib/libc.so.6", "/usr/lib/libgcc_s.so.1"]);
    assert_eq!(tree.needed_by(Path::new("/usr/lib/libgcc_s.so.1")).collect::<Vec<_>>(), ["/bin/program"]);
    fs::remove_file(lab.at("usr/lib/libgcc_s.so.1")).unwrap();
    let error = lab.closure().1.unwrap_err().to_string();
    assert!(error.starts_with("/bin/program needs libgcc_s.so.1"), "{error}");
}

#[test]
fn names_of_users_need_a_library_of_their_own_before_glibc_had_it_in_itself() {
    let lab = Lab::new();
    lab.link("usr/lib/libnss_files.so.2", &[], &[]);
    lab.link("usr/lib/libc.so.6", &[], &[]);
    lab.call("bin/program", "getpwnam", &["usr/lib/libc.so.6"]);
    assert!(paths(&lab.closure().0).contains(&"/usr/lib/libnss_files.so.2"));
    lab.define("usr/lib/libc.so.6", "__nss_files_data_open");
    assert_eq!(paths(&lab.closure().0), ["/bin/program", "/usr/lib/libc.so.6"]);
}

#[test]
fn everything_that_needs_a_library_is_noted_on_it_and_on_its_links() {
    let lab = Lab::new();
    lab.link("usr/lib/libb.so.1", &[], &[]);
    lab.link("usr/lib/liba.so", &["usr/lib/libb.so.1"], &[]);
    lab.link("bin/program", &["usr/lib/liba.so", "usr/lib/libb.so.1"], &[]);
    fs::rename(lab.at("usr/lib/libb.so.1"), lab.at("usr/lib/libb.so.1.5")).unwrap();
    symlink("libb.so.1.5", lab.at("usr/lib/libb.so.1")).unwrap();
    let (tree, _) = lab.closure();
    for path in ["/usr/lib/libb.so.1", "/usr/lib/libb.so.1.5"] {
        let by: Vec<&str> = tree.needed_by(Path::new(path)).collect();
        assert_eq!(by, ["/bin/program", "/usr/lib/liba.so"], "{path}");
    }
    let mut flat = Tree::with_links(Links::Flatten);
    lab.add(&mut flat, &Options::default()).unwrap();
    assert_eq!(paths(&flat), ["/bin/program", "/usr/lib/liba.so", "/usr/lib/libb.so.1"]);
}

#[test]
fn a_root_with_musl_has_its_loader_as_libc_and_the_loaders_configuration() {
    let (Ok(_), true) = (Command::new("musl-gcc").arg("--version").output(), Path::new(MUSL).exists()) else {
        return ignored("no musl-gcc; install musl-tools");
    };
    let lab = Lab::new();
    let source = lab.at("main.c");
    fs::write(&source, "int other(void); int main(void) { return other(); }").unwrap();
    fs::create_dir_all(lab.at("opt")).unwrap();
    let library = lab.at("library.c");
    fs::write(&library, "int other(void) { return 0; }").unwrap();
    let cc = |arguments: &[&str], from: &Path, to: &str| {
        let mut command = Command::new("musl-gcc");
        assert!(command.args(arguments).arg(from).arg("-o").arg(lab.at(to)).status().unwrap().success());
    };
    cc(&["-shared", "-fPIC"], &library, "opt/libother.so");
    let opt = format!("-L{}", lab.at("opt").display());
    fs::rename(&source, lab.at("program.c")).unwrap();
    let mut command = Command::new("musl-gcc");
    command.arg(lab.at("program.c")).arg(opt).arg("-lother").arg("-o").arg(lab.at("bin/program"));
    assert!(command.status().unwrap().success());
    // What Debian's package musl installs, in a root without a merged /usr.
    for file in [MUSL, "/etc/ld-musl-x86_64.path"] {
        let to = lab.at(file.trim_start_matches('/'));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(file, to).unwrap();
    }
    let error = lab.closure().1.unwrap_err().to_string();
    assert!(error.starts_with("/bin/program needs libother.so"), "{error}");
    fs::write(lab.at("etc/ld-musl-x86_64.path"), "/lib/x86_64-linux-musl:/opt\n").unwrap();
    let (tree, found) = lab.closure();
    assert_eq!(found.unwrap().into_keys().collect::<Vec<_>>(), ["libother.so"]);
    let loader = [MUSL, "/etc/ld-musl-x86_64.path", "/bin/program", "/opt/libother.so"];
    let expected: BTreeSet<&str> = loader.into_iter().collect();
    assert_eq!(paths(&tree).into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn a_real_program_has_the_libraries_that_its_loader_lists() {
    for program in ["/bin/ls", "/usr/bin/qemu-system-x86_64", "/usr/libexec/xen-qemu-system-i386"] {
        if Path::new(program).exists() {
            compare_with_ldd(Path::new("/"), program);
        } else {
            ignored(&format!("no {program}"));
        }
    }
}

#[test]
fn debians_qemu_in_the_labs_root_has_what_ldd_and_dracut_install_collect() {
    let program = "/usr/libexec/xen-qemu-system-i386";
    let Some(root) = labs_root() else {
        return ignored("the lab's root is not built yet; cargo xtask dom0 builds it");
    };
    compare_with_ldd(&root, program);
    if !Path::new("/usr/lib/dracut/dracut-install").exists() {
        return ignored("no dracut-install; install dracut-core");
    }
    let files = |collector: Collector| {
        let mut tree = Tree::default();
        let programs = [PathBuf::from(program)];
        collector.programs(&mut tree, &Root::new(&root), &programs, "me", &Options::default()).unwrap();
        let file = |(path, node): (&Path, &Node)| match node {
            Node::File(bytes, _) => Some((path.to_owned(), bytes.clone())),
            Node::Dir | Node::Link(_) => None,
        };
        tree.nodes().filter_map(file).collect::<BTreeMap<_, _>>()
    };
    let (ours, theirs) = (files(Collector::Builtin), files(Collector::Dracut));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    assert!(ours == theirs, "the same names, but not the same bytes");
}

const MUSL: &str = "/lib/ld-musl-x86_64.so.1";

/// Only root may enter another root, and there is no other way to have its own loader's word.
fn compare_with_ldd(root: &Path, program: &str) {
    let output = if root == Path::new("/") {
        Command::new("ldd").arg(program).output()
    } else {
        Command::new("chroot").arg(root).args(["ldd", program]).output()
    };
    let output = output.unwrap();
    if !output.status.success() && root != Path::new("/") {
        return ignored(&format!("chroot {}: {}", root.display(), String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_once(" => "));
    let listed: BTreeMap<String, PathBuf> = names
        .map(|(name, path)| (name.trim().to_owned(), path.split_whitespace().next().unwrap().into()))
        .collect();
    assert!(!listed.is_empty(), "{text}");
    let mut tree = Tree::default();
    let found = add(&mut tree, &Root::new(root), Path::new(program), "me", &Options::default()).unwrap();
    assert_eq!(found, listed);
}
