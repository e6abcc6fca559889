// SPDX-License-Identifier: GPL-3.0-only
//! Stable names of everything that can go wrong: for scripts, messages and the documentation.

macro_rules! codes {
    ($($variant:ident $name:literal $meaning:literal $remedy:literal)*) => {
        /// What went wrong, under a name that does not change between releases.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, grouped by what it is about.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it is printed.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// What it means, in a sentence or two.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning),* }
            }

            /// What to do about it, whoever the pair is.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy),* }
            }
        }
    };
}

codes! {
    ConfigUnreadable "config-unreadable"
        "The config file cannot be opened, or is not text."
        "check the path and the file's permissions; a config is UTF-8 text"
    ConfigSyntax "config-syntax"
        "A line of a config is not `KEY = VALUE` as xl.cfg(5) writes it."
        "mend the line that is shown: strings stand in quotes, lists in brackets"
    ConfigUnknownKey "config-unknown-key"
        "xl.cfg(5) has no key of this name, and neither have we."
        "correct the name, or remove the line"
    ConfigNotYet "config-not-yet"
        "A key or value that xl.cfg(5) knows and that is not served yet. It is refused, because a guest without it is another guest."
        "remove the line if the guest can do without it"
    ConfigNotWithStubdom "config-not-with-stubdom"
        "A key or value that makes no sense for a guest whose QEMU runs in a stubdomain."
        "remove the line, or start the guest with xl"
    ConfigMissing "config-missing"
        "A key that every guest needs is not set."
        "add the key"
    ConfigValue "config-value"
        "A key is set to something that it does not take: another type, a number out of range, a word that is none of its words."
        "set one of the values that the message names"
    ConfigFile "config-file"
        "A file that the config names is not there, or cannot be used as what the config says."
        "create the file, or correct the path"
    ConfigDisk "config-disk"
        "A disk line cannot be read, or asks for what no emulated disk can do."
        "write the line as xl-disk-configuration(5) does: TARGET, FORMAT, VDEV, ACCESS"
    ConfigConflict "config-conflict"
        "Two parts of the config exclude each other, as two disks of one name do."
        "keep one of them"
    ConfigDuplicate "config-duplicate"
        "A key is set twice in one file. As with xl, the last counts."
        "remove the line that does not count"
    ConfigIgnored "config-ignored"
        "A key that changes nothing for a guest with a stubdomain."
        "nothing; remove the line to silence the warning"
    HostNotXen "host-not-xen"
        "This machine runs no Xen, or this system is not its control domain."
        "run this as root in the dom0 of a Xen host"
    HostVersion "host-version"
        "The Xen that runs is not the one that this program was built for: their hypercalls differ."
        "install the stubctl that was built for the Xen that runs"
    HostUnfit "host-unfit"
        "Something that every pair needs is missing on this host."
        "stubctl check names what is missing, and how to get it"
    HostStore "host-store"
        "xenstored does not answer, or died. On most hosts it cannot be restarted without a reboot."
        "look at the state of xenstored; after its death, reboot the host"
    HostCall "host-call"
        "Xen or dom0's kernel refused a call."
        "see the cause; xl dmesg and dmesg often say more"
    ImageNotFound "image-not-found"
        "No stubdomain image was named, and none is at the well-known places."
        "build one with stub-image, or name its files in the config"
    ImageUnusable "image-unusable"
        "The stubdomain image is incomplete, or made for another Xen or another protocol."
        "build the image anew, for the Xen that runs"
    ImageCorrupt "image-corrupt"
        "A file of the stubdomain image is not the one that the image's manifest describes: damaged, cut short, or of another image."
        "build or install the image anew; stubctl image verify DIR looks at all of its files"
    ImageDebugShell "image-debug-shell"
        "The stubdomain image has a shell on its console: who reaches that console controls the stubdomain and its guest."
        "install an image that was built without --debug-shell"
    ImageFailed "image-failed"
        "An image could not be built, read or compared."
        "see the cause; it names the file"
    NameInvalid "name-invalid"
        "What was given is no name of a guest."
        "a name has 1 to 61 of A-Z a-z 0-9 . _ -, and does not start with . or -"
    NoSuchPair "no-such-pair"
        "There is no pair of this name."
        "stubctl list names the pairs there are"
    PairExists "pair-exists"
        "A pair of this name is recorded already."
        "stubctl list shows it, stubctl destroy ends it"
    PairBusy "pair-busy"
        "Another process works on this pair."
        "wait until it is done, or end it"
    NobodyActs "nobody-acts"
        "The config says what is to be done when the guest ends, and no process is there to do it. Without such keys nothing is done."
        "start stubctl daemon, or start the guest with stubctl run; or leave the keys out, or set them to preserve"
    SupervisedAlready "supervised-already"
        "Another stubctl daemon or run looks after the pair, or after all pairs."
        "end the other one first"
    NameTaken "name-taken"
        "A domain that is not ours has this name, or that of the stubdomain."
        "choose another name, or end that domain with the toolstack that made it"
    UuidTaken "uuid-taken"
        "A domain has this uuid already."
        "remove uuid from the config, or end that domain"
    MemoryShort "memory-short"
        "Xen has less free memory than guest and stubdomain take together."
        "give the guest less, end another, or balloon dom0 down"
    DiskUnusable "disk-unusable"
        "A disk cannot be served: its file cannot be opened, or another guest writes it."
        "see the cause; a disk that is written has one guest only"
    ArgvTooLong "argv-too-long"
        "QEMU's arguments do not fit into one xenstore node."
        "shorten device_model_args_hvm"
    BackendStuck "backend-stuck"
        "dom0's blkback did not open a disk in time."
        "look at dmesg for what blkback says of the device"
    StubdomFailed "stubdom-failed"
        "The stubdomain reported that it cannot go on; its report is the cause."
        "the report and the stubdomain's last words tell the reason"
    StubdomDied "stubdom-died"
        "The stubdomain crashed, or powered off, without a report."
        "its last words may tell the reason; xl dmesg has Xen's"
    QemuEnded "qemu-ended"
        "QEMU ended in the stubdomain before it was ready."
        "the stubdomain's last words have what QEMU said"
    GuestDied "guest-died"
        "The guest was ended by somebody before it was started."
        "look for another toolstack that acts on this host"
    GuestCrashed "guest-crashed"
        "A guest that was looked after crashed, or its watchdog fired, or it was restarted too often."
        "stubctl logs has what it said; on_crash = \"preserve\" keeps it to be looked at"
    TimedOut "timed-out"
        "The stubdomain lives, and its QEMU was not ready in time."
        "raise stubdomain_timeout if the host is slow; the stage tells where it hangs"
    QmpFailed "qmp-failed"
        "QEMU's monitor in the stubdomain cannot be reached, or does not keep to its protocol."
        "see the cause; stubctl logs has what QEMU said"
    Cancelled "cancelled"
        "The caller, or a signal, ended the operation; it was undone."
        "nothing is left; start it again when it suits"
    Interrupted "interrupted"
        "A second signal ended the command before its operation had ended; what is left is recorded."
        "stubctl reap removes what is left"
    LeftBehind "left-behind"
        "Some of a pair could not be removed; it is recorded and named."
        "stubctl reap tries again"
    JournalIo "journal-io"
        "A record of a pair could not be written, read or removed."
        "see that the journal's directory is on a disk that is not full, and owned by root"
    JournalUnreadable "journal-unreadable"
        "A record is damaged."
        "stubctl reap moves it out of the way, and removes the domains that it was about"
    JournalVersion "journal-version"
        "A record was written by another release, and is left alone."
        "use the release that wrote it to end the pair"
    OutputUnwritable "output-unwritable"
        "A file that the command was told to write cannot be written. Nothing else was begun."
        "check the path, its permissions and the room on its disk"
    Internal "internal"
        "A defect of this program, or a machine out of threads or descriptors."
        "report it with the whole message"
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The page of the documentation; `UPDATE_EXPECT=1` renews it.
    #[test]
    fn the_documentation_has_every_code() {
        let mut page = String::from(
            "# Error codes\n\nEvery error and warning carries one of these codes: in brackets in the text, as `code` in \
             JSON. They do not\nchange between releases. `stubctl explain CODE` prints the same on the host.\n",
        );
        for code in Code::ALL {
            page += &format!("\n## {code}\n\n{}\n\nWhat to do: {}.\n", code.meaning(), code.remedy());
        }
        expect_test::expect_file!["../../docs/src/error-codes.md"].assert_eq(&page);
    }

    #[test]
    fn every_code_has_a_name_of_its_own_that_can_be_an_anchor() {
        let names: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
    }
}
