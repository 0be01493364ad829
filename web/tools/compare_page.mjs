// The page's side of tools/compare.mjs: it loads a model with one of the engines and asks it. All engines' answers
// are timed in the page, with the same clock and the same loop.

/**
 * Counts the WebGPU calls and the wasm memory of this thread, and of workers that it creates from text, for any
 * engine. With `rewriteF16` an adapter without shader-f16 claims to have it, and shaders get f32 instead: their
 * results are worthless, but their dispatches can be counted.
 */
export function count(rewriteF16) {
  const counts = { dispatches: 0, submissions: 0, readbacks: 0, readbackBytes: 0 };
  const watch = (type, method, count) => {
    const original = type?.prototype[method];
    if (original === undefined) return;
    type.prototype[method] = function watched(...args) {
      count(this, args);
      return original.apply(this, args);
    };
  };
  for (const method of ['dispatchWorkgroups', 'dispatchWorkgroupsIndirect']) {
    watch(globalThis.GPUComputePassEncoder, method, () => (counts.dispatches += 1));
  }
  watch(globalThis.GPUQueue, 'submit', () => (counts.submissions += 1));
  watch(globalThis.GPUBuffer, 'mapAsync', (buffer, [mode, offset = 0, size = buffer.size - offset]) => {
    if (mode !== GPUMapMode.READ) return;
    counts.readbacks += 1;
    counts.readbackBytes += size;
  });
  globalThis.gpuCounts = counts;

  if (rewriteF16) {
    const { has } = GPUSupportedFeatures.prototype;
    GPUSupportedFeatures.prototype.has = function pretending(name) {
      return name === 'shader-f16' || has.call(this, name);
    };
    const { requestDevice } = GPUAdapter.prototype;
    GPUAdapter.prototype.requestDevice = function without(descriptor) {
      const requiredFeatures = [...descriptor.requiredFeatures].filter((name) => name !== 'shader-f16');
      return requestDevice.call(this, { ...descriptor, requiredFeatures });
    };
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function rewritten(descriptor) {
      const code = descriptor.code
        .replace(/enable f16;/g, '')
        .replace(/bitcast<vec2<f16>>\(/g, 'unpack2x16float(')
        .replace(/\bf16\b/g, 'f32')
        .replace(/\bvec([234])h\b/g, 'vec$1f')
        .replace(/(\d)h\b/g, '$1f');
      return createShaderModule.call(this, { ...descriptor, code });
    };
  }

  // Every wasm memory of this thread, created directly or by an instance.
  const memories = new Set();
  const { Memory, instantiate, instantiateStreaming } = WebAssembly;
  WebAssembly.Memory = class extends Memory {
    constructor(...args) {
      super(...args);
      memories.add(this);
    }
  };
  const keep = (result) => {
    const { exports } = result.instance ?? result;
    for (const one of Object.values(exports)) if (one instanceof Memory) memories.add(one);
    return result;
  };
  WebAssembly.instantiate = async (...args) => keep(await instantiate(...args));
  WebAssembly.instantiateStreaming = async (...args) => keep(await instantiateStreaming(...args));
  globalThis.wasmBytes = () => ({ wasm: [...memories].reduce((sum, { buffer }) => sum + buffer.byteLength, 0) });

  const { Blob } = globalThis;
  globalThis.Blob = class extends Blob {
    constructor(parts = [], options = {}) {
      super(options.type === 'text/javascript' ? [`(${count})(${rewriteF16});`, ...parts] : parts, options);
    }
  };
}

/** Greedy, without the penalties that a model's authors recommend. */
const GREEDY = { temperature: 0, top_k: 0, top_p: 1, min_p: 0 };

/** An answer and its milliseconds: from the call to the first and to the last token. */
async function timed(pieces) {
  const began = performance.now();
  const at = [];
  let text = '';
  let tokens = 0;
  let finish = null;
  for await (const piece of pieces()) {
    if (piece.stamp) at.push(performance.now() - began);
    text += piece.text ?? '';
    tokens = piece.tokens ?? tokens;
    finish = piece.finish ?? finish;
  }
  return { text, tokens, finish, pieces: at.length, first: at[0], last: at.at(-1) };
}

async function* chatPieces(stream) {
  for await (const chunk of stream) {
    const [choice] = chunk.choices;
    const tokens = chunk.timings?.predicted_n ?? chunk.usage?.completion_tokens;
    const text = choice?.delta.content;
    yield { text, finish: choice?.finish_reason, tokens, stamp: Boolean(text) };
  }
}

/** The package of this repository, in the page's thread. */
async function lfm2(model) {
  const { createEngine } = await import('/dist/index.js');
  const engine = await createEngine({ model: model.gguf, cache: 'none', contextLength: 2048 });
  const ask = async function* (messages, max_tokens) {
    const request = { messages, max_tokens, ...GREEDY, repetition_penalty: 1, stream: true };
    yield* chatPieces(await engine.chat.completions.create(request));
  };
  return { ask, about: engine.info };
}

/** llama.cpp. A page without COOP and COEP headers has one thread. */
async function wllama(model, { threads, ignore_eos = false }) {
  const { Wllama } = await import('/installed/@wllama/wllama/esm/index.min.js');
  const log = [];
  const say = (...words) => log.push(words.join(' '));
  const logger = { debug: say, log: say, warn: say, error: say };
  const engine = new Wllama({ default: '/installed/@wllama/wllama/esm/wasm/wllama.wasm' }, { logger });
  const blob = await (await fetch(model.gguf)).blob();
  await engine.loadModel([blob], { n_ctx: 2048, n_threads: threads, n_parallel: 1 });
  const ask = async function* (messages, max_tokens) {
    const sampling = { ...GREEDY, penalty_repeat: 1, ignore_eos };
    const request = { messages, max_tokens, ...sampling, cache_prompt: false, stream: true };
    yield* chatPieces(await engine.createChatCompletion(request));
  };
  const about = { version: Wllama.getLibllamaVersion(), threads: engine.getNumThreads(), log };
  return { ask, about };
}

/** transformers.js, which uses ONNX Runtime, in the page's thread. */
async function transformers(model, { device }) {
  const library = '/installed/@huggingface/transformers/dist/transformers.min.js';
  const { AutoModelForCausalLM, AutoTokenizer, TextStreamer, env } = await import(library);
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = '/';
  env.useBrowserCache = false;
  env.useWasmCache = false;
  const runtime = `${location.origin}/installed/onnxruntime-web/dist/ort-wasm-simd-threaded.asyncify`;
  env.backends.onnx.wasm.wasmPaths = { mjs: `${runtime}.mjs`, wasm: `${runtime}.wasm` };
  const tokenizer = await AutoTokenizer.from_pretrained(model.onnx);
  const engine = await AutoModelForCausalLM.from_pretrained(model.onnx, { device, dtype: 'fp32' });
  const ask = async function* (messages, max_new_tokens) {
    const inputs = tokenizer.apply_chat_template(messages, { add_generation_prompt: true, return_dict: true });
    const pieces = [];
    let wake = () => undefined;
    const give = (piece) => (pieces.push(piece), wake());
    let tokens = 0;
    const streamer = new TextStreamer(tokenizer, {
      skip_prompt: true,
      skip_special_tokens: true,
      callback_function: (text) => give({ text }),
      token_callback_function: (ids) => give({ tokens: (tokens += ids.length), stamp: true }),
    });
    const done = engine.generate({ ...inputs, max_new_tokens, do_sample: false, repetition_penalty: 1, streamer });
    done.then(() => give(undefined), (thrown) => give(thrown));
    for (;;) {
      while (pieces.length === 0) await new Promise((resolve) => (wake = resolve));
      const piece = pieces.shift();
      if (piece instanceof Error) throw piece;
      if (piece === undefined) return;
      yield piece;
    }
  };
  return { ask, about: { version: env.version } };
}

const ENGINES = { lfm2, wllama, transformers };

/** Loads a model. Afterwards `globalThis.ask` asks it. */
export async function load(engine, model, options) {
  const began = performance.now();
  const { ask, about } = await ENGINES[engine](model, options);
  globalThis.ask = (messages, most) => timed(() => ask(messages, most));
  return { ms: performance.now() - began, about };
}
