//! An application that owns the GPU device, uses it for its own work, and shares it with the engine.
//! The engine replaces none of the host's callbacks, neither for errors nor for a lost device.
//!
//! `cargo run --example host_app`

use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, GenerateOptions, wgpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // The engine chooses its kernels by the features and limits of the host's device. The defaults of
    // WebGPU suffice.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;

    let shared = Device::from_wgpu(device.clone(), queue.clone());
    let engine = Engine::builder().demo().gpu(shared).build().await?;
    let session = engine.session();
    let question = Conversation::new([Message::user("What is WebGPU?")]);
    let mut answer = session.respond(&question, &GenerateOptions::default())?;

    // Between two tokens the host draws a frame (here: clears a buffer). Both use one queue, which
    // executes their work in order.
    let mut frame = Frame::new(&device);
    while let Some(delta) = answer.next().await {
        print!("{}", delta?.text);
        frame.draw(&device, &queue);
    }
    println!("\n{} frames were drawn between the tokens", frame.drawn);
    Ok(())
}

/// GPU work of the host.
struct Frame {
    target: wgpu::Buffer,
    drawn: u32,
}

impl Frame {
    fn new(device: &wgpu::Device) -> Self {
        let target = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("the host's frame"),
            size: 1 << 16,
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        Self { target, drawn: 0 }
    }

    fn draw(&mut self, device: &wgpu::Device, queue: &wgpu::Queue) {
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.clear_buffer(&self.target, 0, None);
        queue.submit([encoder.finish()]);
        self.drawn += 1;
    }
}
