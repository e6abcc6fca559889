// SPDX-License-Identifier: GPL-3.0-only
//! Ring 3: what is claimed of a pair, on a real Xen. Runs in the lab: `cargo xtask test --ring dom0`.

mod concurrency;
mod confined;
mod create;
mod deaths;
mod endurance;
mod failures;
mod faults;
mod foreign;
mod front;
mod handles;
mod images;
mod kills;
mod messages;
mod network;
mod nodes;
mod order;
mod qmp;
mod reboot;
mod sharing;
mod shell;
mod supervisor;
mod vchan;
mod xenstored;
