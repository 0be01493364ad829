//! The log on stderr.

use std::io::{IsTerminal, Write};

use env_logger::{Target, TimestampPrecision, WriteStyle};
use log::Record;
use log::kv::VisitSource;
use serde_json::{Map, Value};

use super::options::Common;
use super::progress::BesideTheLine;
use super::serve::LogFormat;

/// Starts the log: warnings unless quiet; with -v our own information, with -vv everybody's. `server`: the format of a
/// server's log, which also has its requests.
pub fn init(common: &Common, server: Option<LogFormat>) {
    let default = match (common.quiet, common.verbose, server.is_some()) {
        (true, ..) => "error",
        (false, 0, false) => "error,lfm2_wgpu=warn",
        (false, 0, true) => "error,lfm2_wgpu=warn,lfm2_wgpu::access=info",
        (false, 1, _) => "warn,lfm2_wgpu=info",
        (false, ..) => "info,lfm2_wgpu=debug",
    };
    let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut builder =
        env_logger::Builder::from_env(env_logger::Env::new().filter_or("LFM2_LOG", default));
    builder
        .target(Target::Pipe(Box::new(BesideTheLine)))
        .write_style(if colours { WriteStyle::Always } else { WriteStyle::Never })
        .format_timestamp(server.map(|_| TimestampPrecision::Seconds))
        .format_target(false);
    if server == Some(LogFormat::Json) {
        builder.format(|out, record| writeln!(out, "{}", json_line(record)));
    }
    builder.init();
}

/// A log line as JSON, with the fields of the record.
fn json_line(record: &Record<'_>) -> Value {
    let mut line = Map::new();
    let time = jiff::Timestamp::now();
    line.insert("time".to_owned(), time.to_string().into());
    line.insert("level".to_owned(), record.level().as_str().to_lowercase().into());
    line.insert("message".to_owned(), record.args().to_string().into());
    let mut fields = Fields(line);
    // Our visitor never fails.
    let _ = record.key_values().visit(&mut fields);
    Value::Object(fields.0)
}

struct Fields(Map<String, Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(
        &mut self,
        key: log::kv::Key<'kvs>,
        value: log::kv::Value<'kvs>,
    ) -> Result<(), log::kv::Error> {
        let json = value.to_u64().map_or_else(|| value.to_string().into(), Value::from);
        self.0.insert(key.as_str().to_owned(), json);
        Ok(())
    }
}
