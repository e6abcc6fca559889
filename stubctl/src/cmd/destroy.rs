// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl destroy`: ends a pair.

use libstub::{Journal, Name, XenHost};

use crate::output::{self, say};
use crate::report::Failure;
use crate::run::Loop;
use crate::schema::Gone;

pub(crate) fn destroy(journal: Journal, name: &str, as_json: bool) -> Result<(), Failure> {
    let name = Name::new(name).map_err(|error| Failure::name(&error))?;
    let host = Box::new(XenHost::open()?);
    let mut event_loop = Loop::new().map_err(|error| Failure::internal(&error))?;
    let operation =
        libstub::destroy(host, journal, name.clone()).map_err(|error| Failure::internal(&error))?;
    let gone =
        event_loop.run(operation, |_| {}).map_err(|error| Failure::interrupted(&error, Some(&name)))??;
    if as_json {
        output::json(&Gone::from(gone));
    } else {
        say(format_args!("{} is gone", gone.name));
    }
    Ok(())
}
