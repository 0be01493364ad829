# The program `lfm2` with Mesa's Vulkan drivers (AMD, Intel, and the software driver). Nobody has built this image yet.
#
#   docker build -t lfm2 .
#   mkdir -p ~/.cache/huggingface
#   docker run --device /dev/dri --user "$(id -u):$(id -g)" --group-add "$(getent group render | cut -d: -f3)" \
#       -p 127.0.0.1:8080:8080 -e LFM2_API_KEY=secret -v ~/.cache/huggingface:/cache lfm2 \
#       -m LiquidAI/LFM2.5-8B-A1B-GGUF:Q4_0 serve --host 0.0.0.0
#
# With --user, downloads belong to you and not to root; the folder at /cache must be writable for that user. The group
# `render` may use the GPU.
#
# NVIDIA's driver comes from its container toolkit: --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all, without --device.

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --locked --release

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libvulkan1 mesa-vulkan-drivers \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /src/target/release/lfm2 /usr/local/bin/
# Models, kept in a volume that every user may write to.
RUN mkdir --mode=1777 /cache
ENV HF_HOME=/cache
VOLUME /cache
EXPOSE 8080
# As process 1 it gets SIGTERM from `docker stop`, and then lets running answers end.
ENTRYPOINT ["lfm2"]
# The container's other networks reach the server only at 0.0.0.0, which needs a key: -e LFM2_API_KEY=...
CMD ["serve", "--host", "0.0.0.0"]
