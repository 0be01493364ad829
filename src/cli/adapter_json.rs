//! Adapters as JSON, for `info`, `doctor` and `selftest`.

use serde_json::json;

use crate::gpu::{AdapterReport, Caps};

/// An adapter as JSON.
pub fn adapter_json(a: &AdapterReport) -> serde_json::Value {
    json!({
        "index": a.index, "name": a.name, "backend": a.backend, "kind": a.kind,
        "driver": a.driver, "memory": a.memory, "features": a.features, "caps": caps_json(&a.caps),
    })
}

/// Capabilities as JSON.
pub fn caps_json(c: &Caps) -> serde_json::Value {
    json!({
        "f16": c.f16, "subgroups": c.subgroups, "timestamps": c.timestamps,
        "max_storage_buffers": c.max_storage_buffers, "max_binding": c.max_binding,
        "max_buffer": c.max_buffer, "max_workgroup_memory": c.max_workgroup_memory,
        "max_invocations": c.max_invocations,
    })
}
