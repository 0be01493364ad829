//! The loss of the device while the server answers.

use super::*;
use crate::gpu::{Device, DeviceOptions};

/// Clients notice nothing: their streams continue on another device, and new requests are answered.
#[test]
fn answers_continue_when_the_device_is_lost() {
    let device = pollster::block_on(Device::request(&DeviceOptions::default())).unwrap();
    let builder = Engine::builder().files(crate::demo::files()).context_length(256).gpu(device);
    let engine = pollster::block_on(builder.sequences(3).build()).unwrap();
    let server = Server::new(ServerOptions::default());
    server.ready(engine.clone());
    run(async {
        let request = |seed: u32, stream: bool| {
            let fields = json!({ "seed": seed, "temperature": 1.5, "ignore_eos": true, "max_tokens": 40,
                "stream": stream, "cache_prompt": false });
            post("/v1/chat/completions", chat(fields).to_string())
        };
        let mut alone = Vec::new();
        for seed in 0..5 {
            let (_, reply) = json_of(&server, request(seed, false)).await;
            alone.push(reply["choices"][0]["message"]["content"].as_str().unwrap().to_owned());
        }
        let streams = (0..5).map(|seed| {
            let server = server.clone();
            async move { send(&server, request(seed, true)).await }
        });
        let lose = async {
            while engine.queue_counts().running == 0 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            engine.device().wgpu_device().destroy();
        };
        let all = futures_util::future::join_all(streams);
        let (answers, ()) = futures_util::future::join(all, lose).await;
        for ((status, _, body), alone) in answers.into_iter().zip(&alone) {
            assert_eq!(status, 200, "{body}");
            assert_eq!(streamed_texts(&events(&body), 1), std::slice::from_ref(alone));
        }
        let health = Request::get("/health").body(Body::empty()).unwrap();
        let (_, reply) = json_of(&server, request(0, false)).await;
        assert_eq!(reply["choices"][0]["message"]["content"], alone[0].as_str());
        assert_eq!(json_of(&server, health).await.1["status"], "ok");
        assert_eq!(engine.device_losses(), 1);
    });
}
