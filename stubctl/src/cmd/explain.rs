// SPDX-License-Identifier: GPL-3.0-only
//! `stubctl explain`: what an error code means.

use libstub::Code;

use crate::output::{self, say};

pub(crate) fn explain(code: Option<&str>) {
    if let Some(code) = Code::ALL.iter().find(|known| Some(known.as_str()) == code) {
        return say(format_args!("{code}: {}\n\nWhat to do: {}.", code.meaning(), code.remedy()));
    }
    let mut table = output::table();
    for code in Code::ALL {
        table.add_row([code.as_str(), code.meaning()]);
    }
    say(table);
}
