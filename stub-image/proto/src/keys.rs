// SPDX-License-Identifier: GPL-3.0-only
//! Names of the keys, as absolute paths for the toolstack and as paths relative to `/local/domain/<self>` for PID 1.

/// Names of the keys below the device-model directory.
pub mod name {
    /// Written by QEMU: `running` once the machine runs. The ready key.
    pub const STATE: &str = "state";
    /// Written by PID 1: the protocol version it speaks.
    pub const PROTOCOL: &str = "stub/protocol";
    /// Written by PID 1: the [`Stage`](crate::Stage) it reached.
    pub const STAGE: &str = "stub/stage";
    /// Written by PID 1: `<stage>: <reason>`, at most [`MAX_FAILED`](crate::MAX_FAILED) bytes.
    pub const FAILED: &str = "stub/failed";
    /// Written by PID 1: `exit N` or `signal N`.
    pub const QEMU_EXIT: &str = "stub/qemu-exit";
    /// Written by the toolstack: `1` releases QEMU.
    pub const GO: &str = "stub/go";
    /// Written by the toolstack with [`GO`]: random bytes as hexadecimal digits, as many as [`SEED`](super::SEED) says.
    pub const SEED: &str = "stub/seed";
    /// Where QEMU's monitor is offered over vchan, as libxl looks for it too.
    pub const QMP: &str = "qmp-vchan";
    /// Written by PID 1, last: the grant of the monitor's vchan.
    pub const QMP_RING_REF: &str = "qmp-vchan/ring-ref";
    /// Written by PID 1: the event channel of the monitor's vchan.
    pub const QMP_EVENT_CHANNEL: &str = "qmp-vchan/event-channel";
}

/// The value of the ready key.
pub const READY: &[u8] = b"running";

/// The value of `stub/go`.
pub const GO: &str = "1";

/// How many bytes `stub/seed` has; of their bits 256 or more are random, which makes a kernel's generator ready.
pub const SEED: std::ops::RangeInclusive<usize> = 32..=64;

/// The stubdomain's own key that names the guest it serves, relative to its home.
pub const TARGET: &str = "target";

/// The frontends of a domain's NICs, relative to its home, as the kernel names them.
pub const VIF: &str = "device/vif/";

/// Home of a domain.
pub fn home(domid: u16) -> String {
    format!("/local/domain/{domid}")
}

/// The directory, relative to the stubdomain's home, where QEMU and PID 1 report on `guest`.
pub fn device_model_relative(guest: u16) -> String {
    format!("device-model/{guest}")
}

/// The same directory as the toolstack sees it.
pub fn device_model(stubdom: u16, guest: u16) -> String {
    format!("{}/{}", home(stubdom), device_model_relative(guest))
}

/// The guest's directory that outlives its domain id.
pub fn vm(uuid: &str) -> String {
    format!("/vm/{uuid}")
}

/// The directory of QEMU's arguments, below [`vm`].
pub fn dm_argv(vm: &str) -> String {
    format!("{vm}/image/dm-argv")
}

/// QEMU's arguments in one node, below [`vm`]: for images that look there.
pub fn dmargs(vm: &str) -> String {
    format!("{vm}/image/dmargs")
}
