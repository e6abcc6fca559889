// SPDX-License-Identifier: GPL-3.0-only
//! The way into the dom0 that is up: ssh, with keys of its own on both sides, made for this one boot.

use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// What dom0 gets: the key it accepts and the key it shows.
pub(super) const INSIDE: &str = "ssh-inside";

const CONFIG: &str = "ssh_config";
const KEY: &str = "key";
const KNOWN: &str = "known_hosts";

/// What is of no use once the machine is gone.
pub(super) const FILES: &[&str] = &[CONFIG, KEY, "key.pub", KNOWN];

/// The name of dom0 in the configuration and among the known hosts.
const HOST: &str = "dom0";

/// Makes both keys, and the files that make each side accept the other's.
pub(super) fn make_keys(dir: &Path) -> Result<()> {
    let inside = dir.join(INSIDE);
    fs::create_dir(&inside)?;
    let (key, host) = (dir.join(KEY), inside.join("host"));
    for (path, comment) in [(&key, "lab"), (&host, HOST)] {
        let out = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"])
            .arg(path)
            .stdin(Stdio::null())
            .output()
            .context("cannot run ssh-keygen")?;
        ensure!(out.status.success(), "ssh-keygen: {}", String::from_utf8_lossy(&out.stderr).trim());
    }
    fs::copy(key.with_extension("pub"), inside.join("authorized_keys"))?;
    let shown = fs::read_to_string(host.with_extension("pub"))?;
    Ok(fs::write(dir.join(KNOWN), format!("{HOST} {shown}"))?)
}

/// Writes the configuration; it serves people's own ssh, rsync and editors as well.
pub(super) fn write_config(dir: &Path, port: u16) -> Result<()> {
    Ok(fs::write(dir.join(CONFIG), config(dir, port))?)
}

fn config(dir: &Path, port: u16) -> String {
    format!(
        "Host {HOST}\n\
         \x20   HostName 127.0.0.1\n\
         \x20   Port {port}\n\
         \x20   User root\n\
         \x20   IdentityFile \"{}\"\n\
         \x20   IdentitiesOnly yes\n\
         \x20   HostKeyAlias {HOST}\n\
         \x20   UserKnownHostsFile \"{}\"\n\
         \x20   GlobalKnownHostsFile none\n\
         \x20   StrictHostKeyChecking yes\n\
         \x20   BatchMode yes\n\
         \x20   ConnectTimeout 20\n\
         \x20   LogLevel ERROR\n",
        dir.join(KEY).display(),
        dir.join(KNOWN).display()
    )
}

/// An ssh to dom0 that lacks only its command.
pub(super) fn command(dir: &Path) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(dir.join(CONFIG)).arg(HOST).arg("--");
    ssh
}

/// Runs `words` in dom0 in place of this process: the streams, the signals and the exit status are ssh's.
pub(super) fn exec(dir: &Path, words: &[String]) -> Result<()> {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(dir.join(CONFIG));
    let interactive = words.is_empty() && std::io::stdin().is_terminal();
    if interactive {
        ssh.arg("-t");
    }
    let error = ssh.args([HOST, "--", &line(words, interactive)]).exec();
    Err(error).context("cannot run ssh")
}

/// What dom0's shell is given. One word is a line for the shell; of several, each arrives as it is.
fn line(words: &[String], interactive: bool) -> String {
    let command = match words {
        [] if interactive => "exec bash".to_owned(),
        [] => "exec bash -s".to_owned(),
        [line] => line.clone(),
        words => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
    };
    format!(". /lab/session; {command}")
}

/// One word for a shell, whatever is in it.
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Copies files and directories to `to` in dom0, in place of what has their names there.
pub(super) fn copy(dir: &Path, paths: &[PathBuf], to: &str) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["-c", "-S", "-f", "-"]);
    for path in paths {
        let path = fs::canonicalize(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().with_context(|| format!("{} has no name", path.display()))?;
        tar.arg("-C").arg(path.parent().unwrap_or(&path)).arg(name);
    }
    let mut tar = tar.stdout(Stdio::piped()).spawn().context("cannot run tar")?;
    let archive = tar.stdout.take().context("no output from tar")?;
    let to = quoted(to);
    let unpack =
        format!("mkdir -p {to} && tar -C {to} -x --no-same-owner --unlink-first --recursive-unlink -f -");
    let unpacked = command(dir).arg(unpack).stdin(archive).status().context("cannot run ssh")?;
    let packed = tar.wait()?;
    if !packed.success() || !unpacked.success() {
        bail!("the copy to dom0 failed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    /// What a shell makes of a line for dom0; the session file is dom0's, so that part is left out.
    fn run(line: &str) -> String {
        let line = line.strip_prefix(". /lab/session; ").unwrap();
        let out = Command::new("sh").arg("-c").arg(line).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    }

    #[test]
    fn one_word_is_a_line_and_several_arrive_as_they_are() {
        assert_eq!(run(&line(&words(&["echo a | tr a b"]), false)), "b\n");
        let awkward = words(&["printf", "<%s>", "a b", "it's", "$HOME", "", "|"]);
        assert_eq!(run(&line(&awkward, false)), "<a b><it's><$HOME><><|>");
    }

    #[test]
    fn without_words_there_is_a_shell() {
        assert!(line(&[], true).ends_with("exec bash"));
        assert!(line(&[], false).ends_with("exec bash -s"));
    }

    #[test]
    fn ssh_itself_understands_the_configuration() {
        let dir = tempfile::Builder::new().prefix("a b").tempdir().unwrap();
        write_config(dir.path(), 4022).unwrap();
        let out = Command::new("ssh").arg("-G").arg("-F").arg(dir.path().join(CONFIG)).arg(HOST).output();
        let Ok(out) = out else { return eprintln!("no ssh on this machine") };
        let text = String::from_utf8(out.stdout).unwrap();
        for wanted in [
            "hostname 127.0.0.1",
            "port 4022",
            "user root",
            "hostkeyalias dom0",
            "stricthostkeychecking true",
        ] {
            assert!(text.lines().any(|line| line == wanted), "{wanted} is not in\n{text}");
        }
    }
}
