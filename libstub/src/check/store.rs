// SPDX-License-Identifier: GPL-3.0-only
//! Which xenstored this host has, and whether it answers.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::net::sockopt::socket_peercred;
use xen_sys::DomId;

use super::Finding;
use crate::code::Code;
use crate::host::daemons::{self, Process};

const C: &str = "xenstored";
const OCAML: &str = "oxenstored";

/// Who serves xenstored's socket.
pub(super) fn server(root: &Path, socket: &Path) -> Finding {
    const NAME: &str = "xenstored";
    let shown = socket.display();
    let stream = match UnixStream::connect(socket) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Finding::failure(NAME, format!("{shown} cannot be opened: {error}"), "run this as root");
        }
        Err(error) => {
            return Finding::failure(
                NAME,
                format!("no xenstored listens on {shown}: {error}"),
                "start xenstored: systemctl start xenstored, or /etc/init.d/xen start; stubctl check --wait SECONDS \
                 waits for it",
            );
        }
    };
    // oxenstored listens before it becomes a daemon: who listened may be gone, and is then found by its name.
    let peer = socket_peercred(&stream).ok().and_then(|peer| u32::try_from(peer.pid.as_raw_pid()).ok());
    let known = |process: &Process| [C, OCAML].contains(&process.name.as_str());
    let process = peer.and_then(|pid| daemons::process(root, pid)).filter(known);
    match process.or_else(|| daemons::find(root, &[C, OCAML])) {
        Some(Process { pid, name }) => {
            let kind = if name == C { "C" } else { "OCaml" };
            Finding::ok(NAME, format!("{name} ({kind}), process {pid}, listens on {shown}"))
        }
        None => Finding::warning(
            NAME,
            format!("somebody listens on {shown} who is neither {C} nor {OCAML}"),
            "see that it is a xenstored: what else is claimed here of xenstored was seen with those two only",
        ),
    }
}

/// Whether it answers: `domain` is where it says it runs.
pub(super) fn answer(domain: Result<DomId, String>) -> Finding {
    const NAME: &str = "xenstored-answers";
    match domain {
        Ok(DomId::DOM0) => Finding::ok(NAME, "xenstored answers, from dom0"),
        Ok(domid) => Finding::failure(
            NAME,
            format!("xenstored runs in domain {domid}: pairs are made for one in dom0"),
            "start xenstored in dom0 (XENSTORETYPE=daemon) and reboot",
        ),
        Err(why) => Finding::failure(NAME, why, Code::HostStore.remedy()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::check::FindingStatus;

    fn with_process(root: &Path, pid: u32, name: &str) {
        let directory = root.join(format!("proc/{pid}"));
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("comm"), name).expect("a file");
        fs::write(directory.join("cmdline"), name).expect("a file");
    }

    #[test]
    fn who_listens_is_told_apart() {
        let own = std::process::id();
        for (pid, name, told, status) in [
            (own, "xenstored", "(C)", FindingStatus::Ok),
            (own, "oxenstored", "(OCaml)", FindingStatus::Ok),
            // It listened in a process that is gone.
            (77, "oxenstored", "(OCaml), process 77", FindingStatus::Ok),
            (own, "socat", "neither", FindingStatus::Warning),
        ] {
            let root = tempfile::tempdir().expect("a directory");
            with_process(root.path(), pid, name);
            let socket = root.path().join("socket");
            let _listener = UnixListener::bind(&socket).expect("bound");
            let finding = server(root.path(), &socket);
            assert!(finding.status == status && finding.what.contains(told), "{finding:?}");
        }
    }

    #[test]
    fn nobody_who_listens_is_a_failure() {
        let root = tempfile::tempdir().expect("a directory");
        let socket = root.path().join("socket");
        assert!(server(root.path(), &socket).failed());
        drop(UnixListener::bind(&socket).expect("bound"));
        assert!(server(root.path(), &socket).failed(), "the socket of a dead one");
    }

    #[test]
    fn only_a_xenstored_in_dom0_is_well() {
        assert_eq!(answer(Ok(DomId::DOM0)).status, FindingStatus::Ok);
        assert!(answer(Ok(DomId::new(1))).failed());
        assert!(answer(Err("late".to_owned())).failed());
    }
}
