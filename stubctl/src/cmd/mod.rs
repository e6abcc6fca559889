// SPDX-License-Identifier: GPL-3.0-only
//! One file per command: call libstub, print what it says.

mod check;
mod create;
mod destroy;
mod explain;
mod list;
mod logs;
mod reap;
mod show;
mod supervise;

pub(crate) use check::check;
pub(crate) use create::{Create, create};
pub(crate) use destroy::destroy;
pub(crate) use explain::explain;
pub(crate) use list::list;
pub(crate) use logs::{Logs, logs};
pub(crate) use reap::{Reap, reap};
pub(crate) use show::show;
pub(crate) use supervise::{Limits, Run, daemon, run};
