//! Cost of a dispatch, a submission and a byte on the adapter that the engine would choose.
//!
//!     cargo bench --bench launch               a table
//!     cargo bench --bench launch -- --json     JSON
//!     LFM2_ADAPTER=NAME cargo bench --bench launch   on another adapter
//!
//! Dispatches of one compute pass are timed between two timestamps on the GPU, in the best of several passes:
//!   - dependent: each adds 1 to the numbers that the one before wrote;
//!   - independent: each has a buffer of its own, so that wgpu puts no barrier between them;
//!   - reads: each reads other bytes of a large buffer and depends on the one before.
//!
//! The first two have little to do, so their time is what a dispatch costs.

use std::process::exit;
use std::time::Instant;

use lfm2_wgpu::gpu::{AdapterChoice, Device, DeviceOptions};
use lfm2_wgpu::wgpu;
use serde_json::{Value, json};

/// Adds 1 to a number for each lane.
const ADD: &str = "
@group(0) @binding(0) var<storage, read_write> numbers: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { numbers[id.x] += 1u; }
";

/// A lane reads `each` times four words, and a number that the dispatch before wrote.
const READ: &str = "
@group(0) @binding(0) var<storage, read> words: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> before: array<u32>;
@group(0) @binding(2) var<storage, read_write> after: array<u32>;
@group(0) @binding(3) var<uniform> at: vec4<u32>;
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = at.x + (group.x * at.y * 64u) + lane;
    var sum = vec4<u32>(before[lane]);
    for (var i = 0u; i < at.y; i++) { sum += words[first + (i * 64u)]; }
    after[lane] = sum.x ^ sum.y ^ sum.z ^ sum.w;
}
";

/// Passes of which the best counts.
const PASSES: usize = 4;
/// Most workgroups of a dispatch here.
const MOST: u32 = 4096;
/// Buffers of independent dispatches.
const BUFFERS: usize = 64;

struct Lab {
    device: wgpu::Device,
    queue: wgpu::Queue,
    /// Microseconds of a tick.
    tick: f64,
    /// Dispatches of a pass.
    dispatches: usize,
}

/// Microseconds of a pass.
#[derive(Clone, Copy)]
struct Took {
    gpu: f64,
    /// Encoding and submission, on the CPU.
    host: f64,
    /// Until its result was read.
    all: f64,
}

fn main() {
    let adapter = std::env::var("LFM2_ADAPTER").map_or(AdapterChoice::Best, AdapterChoice::Named);
    let options = DeviceOptions { adapter, ..Default::default() };
    let device = pollster::block_on(Device::request(&options)).unwrap_or_else(|e| fail(&e));
    if !device.caps().timestamps {
        fail(&"this adapter has no timestamp queries");
    }
    let small = device.adapter().is_software();
    let lab = Lab {
        tick: f64::from(device.queue().get_timestamp_period()) / 1e3,
        device: device.wgpu_device().clone(),
        queue: device.queue().clone(),
        dispatches: if small { 20 } else { 2000 },
    };
    let slab = if small { 16 << 20 } else { device.caps().max_part().min(2 << 30) };
    let dependent = [1, 132, 1024, MOST].map(|n| lab.dependent(n));
    let independent = [1, 132, 1024].map(|n| lab.independent(n));
    let reads = [1, 2, 4, 8, 16, 32, 110, 512].map(|mib| lab.reads(mib << 20, slab));
    let results = json!({
        "adapter": device.adapter().name,
        "driver": device.adapter().driver,
        "dependent": dependent,
        "independent": independent,
        "round_trip_us": lab.round_trip(),
        "reads": reads,
    });
    match std::env::args().any(|arg| arg == "--json") {
        true => println!("{results}"),
        false => print(&results),
    }
}

fn print(results: &Value) {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let rows = |name: &str| results[name].as_array().cloned().unwrap_or_default();
    println!("{}, {}", results["adapter"], results["driver"]);
    for kind in ["dependent", "independent"] {
        for row in rows(kind) {
            let [workgroups, us, host] =
                ["workgroups", "us", "host_us"].map(|name| number(&row[name]));
            println!("{kind:11} {workgroups:5} workgroups: {us:8.3} us each, {host:.3} us of CPU");
        }
    }
    let round_trip = number(&results["round_trip_us"]);
    println!("one dispatch, 16 bytes read back: {round_trip:.1} us");
    for row in rows("reads").iter().filter(|row| !row.is_null()) {
        let [mib, us, speed] = ["mib", "us", "gb_per_second"].map(|name| number(&row[name]));
        println!("a dispatch reads {mib:4} MiB: {us:9.2} us, {speed:5.0} GB/s");
    }
}

fn fail(error: &dyn std::fmt::Display) -> ! {
    eprintln!("launch: {error}");
    exit(1)
}

impl Lab {
    fn dependent(&self, workgroups: u32) -> Value {
        let pipeline = self.pipeline(ADD);
        let numbers = self.buffer(256 * u64::from(MOST), wgpu::BufferUsages::STORAGE);
        let group = self.group(&pipeline, &[&numbers]);
        let took = self.best(|pass| {
            pass.set_pipeline(&pipeline);
            for _ in 0..self.dispatches {
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(workgroups, 1, 1);
            }
        });
        self.of_dispatches(workgroups, took, self.dispatches)
    }

    fn independent(&self, workgroups: u32) -> Value {
        let pipeline = self.pipeline(ADD);
        let groups: Vec<_> = (0..BUFFERS)
            .map(|_| self.buffer(256 * u64::from(MOST), wgpu::BufferUsages::STORAGE))
            .map(|buffer| self.group(&pipeline, &[&buffer]))
            .collect();
        let took = self.best(|pass| {
            pass.set_pipeline(&pipeline);
            for group in &groups {
                pass.set_bind_group(0, group, &[]);
                pass.dispatch_workgroups(workgroups, 1, 1);
            }
        });
        self.of_dispatches(workgroups, took, BUFFERS)
    }

    fn of_dispatches(&self, workgroups: u32, took: Took, dispatches: usize) -> Value {
        let each = |us: f64| us / dispatches as f64;
        json!({ "workgroups": workgroups, "us": each(took.gpu), "host_us": each(took.host) })
    }

    fn round_trip(&self) -> f64 {
        let pipeline = self.pipeline(ADD);
        let numbers = self.buffer(256, wgpu::BufferUsages::STORAGE);
        let group = self.group(&pipeline, &[&numbers]);
        let once = || {
            let took = self.pass(|pass| {
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(1, 1, 1);
            });
            took.all
        };
        (0..20).map(|_| once()).fold(f64::INFINITY, f64::min)
    }

    /// A chain of dispatches that read `bytes` each. Null if the slab is too small.
    fn reads(&self, bytes: u64, slab: u64) -> Value {
        if bytes > slab {
            return Value::Null;
        }
        let pipeline = self.pipeline(READ);
        let words = self.buffer(slab, wgpu::BufferUsages::STORAGE);
        let (a, b) = (
            self.buffer(256, wgpu::BufferUsages::STORAGE),
            self.buffer(256, wgpu::BufferUsages::STORAGE),
        );
        let mut best = f64::INFINITY;
        for each in [1, 4, 16] {
            let workgroups = bytes / (16 * 64 * u64::from(each));
            if !(1..=65_535).contains(&workgroups) {
                continue;
            }
            let groups: Vec<_> = (0..(slab / bytes).min(100))
                .map(|i| {
                    let at = self.buffer(16, wgpu::BufferUsages::UNIFORM);
                    let first = (i * bytes / 16) as u32;
                    let at_words: Vec<u8> =
                        [first, each, 0, 0].iter().flat_map(|w: &u32| w.to_le_bytes()).collect();
                    self.queue.write_buffer(&at, 0, &at_words);
                    let (before, after) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
                    self.group(&pipeline, &[&words, before, after, &at])
                })
                .collect();
            let took = self.best(|pass| {
                pass.set_pipeline(&pipeline);
                for group in &groups {
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(workgroups as u32, 1, 1);
                }
            });
            best = best.min(took.gpu / groups.len() as f64);
        }
        json!({ "mib": bytes >> 20, "us": best, "gb_per_second": bytes as f64 / best / 1e3 })
    }

    fn pipeline(&self, text: &str) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(text.into()),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    fn buffer(&self, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: usage | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        })
    }

    fn group(
        &self,
        pipeline: &wgpu::ComputePipeline,
        buffers: &[&wgpu::Buffer],
    ) -> wgpu::BindGroup {
        let entries: Vec<_> = (0..)
            .zip(buffers)
            .map(|(binding, buffer)| wgpu::BindGroupEntry {
                binding,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &entries,
        })
    }

    fn best(&self, record: impl Fn(&mut wgpu::ComputePass<'_>)) -> Took {
        (0..PASSES).map(|_| self.pass(&record)).fold(
            Took { gpu: f64::INFINITY, host: f64::INFINITY, all: f64::INFINITY },
            |best, took| Took {
                gpu: best.gpu.min(took.gpu),
                host: best.host.min(took.host),
                all: best.all.min(took.all),
            },
        )
    }

    fn pass(&self, record: impl Fn(&mut wgpu::ComputePass<'_>)) -> Took {
        let set = self.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2,
        });
        let resolved = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16,
            usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let target = self.buffer(16, wgpu::BufferUsages::MAP_READ);
        let started = Instant::now();
        let us = || started.elapsed().as_secs_f64() * 1e6;
        let mut encoder = self.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: None,
                timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                    query_set: &set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                }),
            });
            record(&mut pass);
        }
        encoder.resolve_query_set(&set, 0..2, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &target, 0, 16);
        self.queue.submit([encoder.finish()]);
        let host = us();
        target.map_async(wgpu::MapMode::Read, .., |result| result.unwrap_or_else(|e| fail(&e)));
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap_or_else(|e| fail(&e));
        let all = us();
        let view = target.get_mapped_range(..).unwrap_or_else(|e| fail(&e));
        let tick = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&view[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        Took { gpu: tick(8).saturating_sub(tick(0)) as f64 * self.tick, host, all }
    }
}
