use lfm2_wgpu::text::{Conversation, Message};
use lfm2_wgpu::{Engine, Error, GenerateOptions};

fn main() -> Result<(), Error> {
    pollster::block_on(async {
        let engine = Engine::builder().demo().build().await?;
        let question = Conversation::new([Message::user("What is lfm2-wgpu?")]);
        let session = engine.session();
        println!("{}", session.respond(&question, &GenerateOptions::default())?.text().await?);
        Ok(())
    })
}
