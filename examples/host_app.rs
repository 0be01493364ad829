//! An application that owns the GPU device, does work of its own on it, and shares it with the
//! engine. Nothing of the host's is replaced: no error handler, no device-lost callback.
//!
//! `cargo run --example host_app`

use lfm2_wgpu::gpu::Device;
use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, GenerateOptions, wgpu};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(run())
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    // The host makes its device as it likes; the engine looks at the device's features and limits
    // and picks its kernels by them. Even a device with neither is enough.
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default()).await?;
    let (device, queue) = adapter.request_device(&wgpu::DeviceDescriptor::default()).await?;

    let shared = Device::from_wgpu(device.clone(), queue.clone());
    let engine = Engine::builder().demo().gpu(shared).build().await?;
    let mut session = engine.session()?;
    let question = Conversation::new([Message::user("What is WebGPU?")]);
    let mut answer = session.respond(&question, &GenerateOptions::default())?;

    // Between two tokens the host draws a frame (here: fills a buffer). Both use one queue, whose
    // order keeps their work apart.
    let mut frame = Frame::new(&device);
    while let Some(delta) = answer.next().await {
        print!("{}", delta?.text);
        frame.draw(&device, &queue);
    }
    println!("\n{} frames were drawn between the tokens", frame.drawn);
    Ok(())
}

/// The host's own GPU work.
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
