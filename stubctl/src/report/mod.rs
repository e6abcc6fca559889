// SPDX-License-Identifier: GPL-3.0-only
//! How a failure is told: what was tried, on which domains, what happened, what was undone, what is owed.

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use libstub::config::{Fault, Severity};
use libstub::{
    Cause, Code, ConfigError, CreateError, CreateStage, DestroyError, End, Findings, HostError, JournalError,
    ListError, Name, Owed, ReapError, ShowError, SupervisorError,
};
use serde_json::{Value, json};

use crate::exit_code::Status;

#[cfg(test)]
mod golden;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    status: Status,
    code: Code,
    /// One line: what failed.
    what: String,
    /// Why, outermost first.
    causes: Vec<String>,
    details: Box<Details>,
}

#[derive(Debug, Default)]
struct Details {
    guest: Option<u16>,
    stubdom: Option<u16>,
    stage: Option<&'static str>,
    stubdom_stage: Option<String>,
    /// The faults of a config.
    faults: Vec<Fault>,
    findings: Findings,
    undone: Vec<String>,
    owed: Vec<Owed>,
    remedy: Option<String>,
}

impl Failure {
    fn new(status: Status, code: Code, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { status, code, what: error.to_string(), causes, details: Box::default() }
    }

    fn remedy(mut self, text: impl Into<String>) -> Self {
        self.details.remedy = Some(text.into());
        self
    }

    /// A file that the command was told to write cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Self {
        let what = format!("{} cannot be written", path.display());
        let causes = vec![error.to_string()];
        Self { status: Status::Usage, code: Code::OutputUnwritable, what, causes, details: Box::default() }
    }

    /// What was given as a guest's name is none.
    pub(crate) fn name(error: &dyn Error) -> Self {
        Self::new(Status::Usage, Code::NameInvalid, error)
    }

    /// This process cannot even begin.
    pub(crate) fn internal(error: &std::io::Error) -> Self {
        Self::new(Status::Failed, Code::Internal, error)
    }

    /// This process could not see an operation, on one pair or all, to its end.
    pub(crate) fn interrupted(error: &std::io::Error, name: Option<&Name>) -> Self {
        let twice = error.kind() == std::io::ErrorKind::Interrupted;
        let code = if twice { Code::Interrupted } else { Code::Internal };
        let reap = name.map_or_else(|| "stubctl reap".to_owned(), |name| format!("stubctl reap {name}"));
        Self::new(Status::Owed, code, error).remedy(format!("{reap} removes what there may be"))
    }

    /// A guest that was looked after did not end well.
    pub(crate) fn ended(name: &Name, end: &End, code: Code) -> Self {
        let what = format!("{name}: {end}");
        Self { status: Status::Failed, code, what, causes: Vec::new(), details: Box::default() }
    }

    /// Tells the failure and gives its exit status.
    pub(crate) fn report(&self, as_json: bool) -> ExitCode {
        if as_json {
            let _ = writeln!(std::io::stdout(), "{:#}", self.as_json());
        } else {
            let _ = write!(std::io::stderr(), "{}", self.as_text());
        }
        self.status.into()
    }

    fn as_json(&self) -> Value {
        let details = &self.details;
        let owed: Vec<Value> =
            details.owed.iter().map(|owed| json!({ "what": owed.what, "why": owed.why })).collect();
        json!({
            "version": 1,
            "error": {
                "status": self.status.number(),
                "code": self.code,
                "what": self.what,
                "causes": self.causes,
                "faults": details.faults,
                "guest": details.guest,
                "stubdom": details.stubdom,
                "stage": details.stage,
                "stubdom_stage": details.stubdom_stage,
                "shutdown": details.findings.shutdown.map(|reason| reason.to_string()),
                "qemu_exit": details.findings.qemu_exit,
                "console": details.findings.console,
                "unconnected": details.findings.unconnected,
                "undone": details.undone,
                "owed": owed,
                "remedy": self.what_to_do(),
            }
        })
    }

    fn as_text(&self) -> String {
        let mut text: String = self.details.faults.iter().map(|fault| format!("{fault}\n")).collect();
        text += &format!("error[{}]: {}\n", self.code, self.what);
        for cause in &self.causes {
            text += &format!("  because: {cause}\n");
        }
        let details = &self.details;
        let Findings { shutdown, qemu_exit, console, unconnected } = &details.findings;
        if let Some(reason) = shutdown {
            text += &format!("  the stubdom shut down: {reason}\n");
        }
        if let Some(exit) = qemu_exit {
            text += &format!("  QEMU in it ended: {exit}\n");
        }
        for device in unconnected {
            text += &format!("  not connected: {device}\n");
        }
        if !console.is_empty() {
            text += "  the stubdom's last words:\n";
            for line in console {
                text += &format!("    | {line}\n");
            }
        }
        if !details.undone.is_empty() {
            text += &format!("  removed: {}\n", details.undone.join(", "));
        }
        for owed in &details.owed {
            text += &format!("  left behind: {} ({})\n", owed.what, owed.why);
        }
        text += &format!("  what to do: {}\n", self.what_to_do());
        text
    }

    /// What this very failure asks for, or what its code does.
    fn what_to_do(&self) -> &str {
        self.details.remedy.as_deref().unwrap_or(self.code.remedy())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let mut failure = Self::new(Status::Usage, error.code(), &error);
        if let ConfigError::Faults(faults) = error {
            let errors = faults.iter().filter(|fault| fault.severity == Severity::Error).count();
            failure.what = match errors {
                1 => "the config has an error; nothing was touched".to_owned(),
                _ => format!("the config has {errors} errors; nothing was touched"),
            };
            if errors > 1 {
                failure.details.remedy =
                    Some("mend each line that is shown; stubctl explain tells more of a code".to_owned());
            }
            failure.details.faults = faults;
        }
        failure
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(Status::HostUnusable, error.code(), &error)
    }
}

impl From<ReapError> for Failure {
    fn from(error: ReapError) -> Self {
        let status = match &error {
            ReapError::Host(_) => Status::HostUnusable,
            ReapError::Journal(_) => Status::Failed,
            ReapError::Panicked(_) => Status::Owed,
        };
        Self::new(status, error.code(), &error)
    }
}

impl From<ListError> for Failure {
    fn from(error: ListError) -> Self {
        let status = if matches!(error, ListError::Host(_)) { Status::HostUnusable } else { Status::Failed };
        Self::new(status, error.code(), &error)
    }
}

impl From<CreateError> for Failure {
    fn from(error: CreateError) -> Self {
        let status = match &*error.cause {
            _ if !error.owed.is_empty() => Status::Owed,
            Cause::Unfit(_) | Cause::Image(_) | Cause::NobodyActs(_) => Status::HostUnusable,
            Cause::Config(_) => Status::Usage,
            _ => Status::Failed,
        };
        let mut failure = Self::new(status, error.code(), &error);
        *failure.details = Details {
            guest: error.guest.map(|domid| domid.get()),
            stubdom: error.stubdom.map(|domid| domid.get()),
            stage: Some(error.stage.as_str()),
            stubdom_stage: match error.stage {
                CreateStage::Ready(stage) => stage.map(|stage| stage.to_string()),
                _ => None,
            },
            faults: Vec::new(),
            findings: *error.findings,
            undone: error.undone,
            owed: error.owed,
            remedy: None,
        };
        match *error.cause {
            _ if status == Status::Owed => {
                failure.remedy(format!("stubctl reap {} tries again to remove what is left", error.name))
            }
            Cause::PairExists => {
                failure.remedy(format!("stubctl list shows it, stubctl destroy {} ends it", error.name))
            }
            _ => failure,
        }
    }
}

impl From<SupervisorError> for Failure {
    fn from(error: SupervisorError) -> Self {
        let status = match &error {
            SupervisorError::Host(_) => Status::HostUnusable,
            _ => Status::Failed,
        };
        Self::new(status, error.code(), &error)
    }
}

impl From<DestroyError> for Failure {
    fn from(error: DestroyError) -> Self {
        let status = match &error {
            DestroyError::NoSuchPair(_) => Status::Usage,
            DestroyError::Owed { .. }
            | DestroyError::Panicked(_)
            | DestroyError::Journal(JournalError::Unreadable { .. }) => Status::Owed,
            DestroyError::Journal(_) => Status::Failed,
        };
        let failure = Self::new(status, error.code(), &error);
        match error {
            DestroyError::Owed { name, undone, owed } => {
                let mut failure =
                    failure.remedy(format!("stubctl reap {name} tries again to remove what is left"));
                (failure.details.undone, failure.details.owed) = (undone, owed);
                failure
            }
            _ => failure,
        }
    }
}

impl From<ShowError> for Failure {
    fn from(error: ShowError) -> Self {
        let status = match &error {
            ShowError::NoSuchPair(_) => Status::Usage,
            ShowError::Host(_) => Status::HostUnusable,
            ShowError::Journal(_) => Status::Failed,
        };
        Self::new(status, error.code(), &error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Status::Failed, Code::ImageFailed, error.as_ref())
    }
}
