// lfm2-wgpu for C and C++. docs/c.md has examples, the options and the rules for threads.
//
// All functions: A pointer may be null only where a comment says so. A null pointer, a handle of another type and a
// freed handle are refused with LFM2_INVALID_ARGUMENT; for a freed one this cannot be promised, since its memory may
// have been used again. Text is UTF-8, with its length in bytes. `error` may be null. If it is not, each call writes
// null to it, or the reason of its failure, which lfm2_error_free frees. If a function fails, the handle or text that
// it returns is null.


#ifndef LFM2_H
#define LFM2_H

// Made by `cargo xtask capi-header` from capi/src/abi.rs.

#include <stddef.h>
#include <stdint.h>

// Version of this header. It changes when a function, a status or a type changes in a way that a compiled program
// would notice.
#define LFM2_ABI_VERSION 1

// Result of a function. Negative values are errors. Later versions may add values.
enum lfm2_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Done. From lfm2_next: there is a delta.
  LFM2_OK = 0,
  // lfm2_next: nothing came in time.
  LFM2_PENDING = 1,
  // lfm2_next and callbacks: the answer has ended.
  LFM2_DONE = 2,
  // A null pointer, a handle of another kind, text that is not UTF-8, or another ABI version.
  LFM2_INVALID_ARGUMENT = -1,
  // An option or a field of a request is wrong or not supported.
  LFM2_INVALID_REQUEST = -2,
  // The conversation is longer than the context.
  LFM2_CONTEXT_FULL = -3,
  // A file of the model or of an adapter could not be read.
  LFM2_READ_FAILED = -4,
  // A file of the model or of an adapter is missing, broken or of another kind.
  LFM2_BAD_MODEL = -5,
  // There is no GPU that can compute, or not the one asked for.
  LFM2_NO_ADAPTER = -6,
  // The model does not fit the GPU's memory.
  LFM2_OUT_OF_MEMORY = -7,
  // The GPU went away, and no other could be opened.
  LFM2_DEVICE_LOST = -8,
  // The GPU refused something, or computes wrongly.
  LFM2_GPU_ERROR = -9,
  // Another thread waits in lfm2_next for this answer, or the system has no thread left.
  LFM2_BUSY = -10,
  // The callback stopped the loading.
  LFM2_CANCELLED = -11,
  // A bug of the library.
  LFM2_INTERNAL_ERROR = -12,
  // A saved state is damaged, of another model, or could not be written.
  LFM2_SAVED_STATE = -13,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum lfm2_status lfm2_status;
#else
typedef int32_t lfm2_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A model on a GPU. Any number of threads may use it at once.
typedef struct lfm2_engine lfm2_engine;

// The reason of a failure. Its texts end with a NUL and live as long as it does.
typedef struct lfm2_error lfm2_error;

// An answer in progress.
typedef struct lfm2_generation lfm2_generation;

// Called while a model loads, by one thread at a time. `phase` is "compile" (`done` and `total` count kernels) or
// "upload" (bytes of the weights); the two alternate. Returns 0 to go on; another value ends the loading with
// LFM2_CANCELLED.
typedef int32_t (*lfm2_progress)(void *user,
                                 const char *phase,
                                 uint64_t done,
                                 uint64_t total);

// Called with each step of an answer, by one thread of the library. `status` is LFM2_OK (`json` is a delta), LFM2_DONE
// (`json` is the end of the answer) or an error (`json` is null, `error` is the reason; it is null otherwise). After
// LFM2_DONE or an error no call comes. `json` has `len` bytes and a NUL after them; it and `error` are valid during the
// call. Returns 0 to go on; another value is like lfm2_cancel.
typedef int32_t (*lfm2_callback)(void *user,
                                 lfm2_status status,
                                 const char *json,
                                 size_t len,
                                 const lfm2_error *error);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The ABI version of the library. A program may compare it with LFM2_ABI_VERSION; lfm2_engine_new does so.
uint32_t lfm2_abi_version(void);

// Loads a model, which may take minutes. `abi_version` is LFM2_ABI_VERSION. `options` is an object as JSON, e.g.
// {"model": "LFM2.5-8B-A1B-Q4_0.gguf", "parallel": 4}; docs/c.md has all names. Null with length 0 is the built-in
// demonstration model. `progress` may be null.
lfm2_status lfm2_engine_new(uint32_t abi_version,
                            const char *options,
                            size_t options_len,
                            lfm2_progress progress,
                            void *user,
                            lfm2_engine **engine,
                            lfm2_error **error);

// Writes a description of the model and its GPU as JSON to `json`, and its length to `len`, which may be null. The
// text ends with a NUL and is freed by lfm2_string_free.
lfm2_status lfm2_engine_info(const lfm2_engine *engine,
                             char **json,
                             size_t *len,
                             lfm2_error **error);

// Loads a LoRA adapter, also while answers are generated. `path` is UTF-8: a folder or file of PEFT, or a GGUF file.
// Requests use the adapter by its `name`, in their field `lora` or `model`. `scale` is the factor of its addition,
// usually 1. After an error nothing has changed.
lfm2_status lfm2_engine_load_lora(const lfm2_engine *engine,
                                  const char *name,
                                  size_t name_len,
                                  const char *path,
                                  size_t path_len,
                                  float scale,
                                  lfm2_error **error);

// Removes a LoRA adapter. Its answers in progress go on, and its memory is freed after the last of them.
lfm2_status lfm2_engine_unload_lora(const lfm2_engine *engine,
                                    const char *name,
                                    size_t name_len,
                                    lfm2_error **error);

// Frees an engine. Its answers in progress go on, and the model's memory is freed after the last of them. Null does
// nothing.
void lfm2_engine_free(lfm2_engine *engine);

// Begins the answer to a request of OpenAI's chat API as JSON: {"messages": [...], "stream": true, ...}. Without
// `callback` the answer is read with lfm2_next. With one, a thread of the library calls it with `user`; the handle is
// written before the first call. The engine may be freed before the generation.
lfm2_status lfm2_chat(const lfm2_engine *engine,
                      const char *request,
                      size_t request_len,
                      lfm2_callback callback,
                      void *user,
                      lfm2_generation **generation,
                      lfm2_error **error);

// Waits for the next step of an answer, at most `timeout_ms` milliseconds; a negative number waits without a limit.
// LFM2_OK writes a delta to `json`: `content`, `reasoning_content`, `tool_calls` and `logprobs`, each only if it is
// there. With LFM2_DONE `json` is the end of the answer, once; later calls write null. With "stream": true that is
// `finish_reason` (null if the answer was cancelled), `usage` and `timings`; without it there are no deltas, and the
// end is OpenAI's `chat.completion`. LFM2_PENDING and errors write null. `len` may be null. The text ends with a NUL
// and is freed by lfm2_string_free.
lfm2_status lfm2_next(lfm2_generation *generation,
                      int64_t timeout_ms,
                      char **json,
                      size_t *len,
                      lfm2_error **error);

// Ends an answer early, from any thread. Its reader then gets LFM2_DONE, with a null `finish_reason`.
lfm2_status lfm2_cancel(const lfm2_generation *generation,
                        lfm2_error **error);

// Cancels and frees an answer. A callback that runs is waited for, and none comes afterwards; a callback may free its
// own answer. Null does nothing.
void lfm2_generation_free(lfm2_generation *generation);

// Writes the state of a conversation to a file, so that a later run need not compute it again. `request` is the request
// of its last answer, with that answer as a message more. `path` is UTF-8; a file there is replaced when the new one is
// complete. `tokens` gets the length of the state in tokens, and may be null: 0, and no file is written, if the engine
// has kept nothing of the conversation. A LoRA adapter's state is that of a
// request that names it; it can be read where the same adapter is loaded.
lfm2_status lfm2_save(const lfm2_engine *engine,
                      const char *request,
                      size_t request_len,
                      const char *path,
                      size_t path_len,
                      size_t *tokens,
                      lfm2_error **error);

// Reads a file of lfm2_save. A request that begins with its conversation continues from there. `tokens` gets the length
// of the state in tokens, and may be null. A file of another model or a damaged one is refused, and changes nothing.
lfm2_status lfm2_restore(const lfm2_engine *engine,
                         const char *path,
                         size_t path_len,
                         size_t *tokens,
                         lfm2_error **error);

// The message of an error: the problem, its place and the remedy. Null if `error` is not an error.
const char *lfm2_error_message(const lfm2_error *error);

// The status of an error as a word, e.g. "context_full". Null if `error` is not an error.
const char *lfm2_error_code(const lfm2_error *error);

// Frees an error. Null does nothing.
void lfm2_error_free(lfm2_error *error);

// Frees a text that a function of the library has written. Null does nothing.
void lfm2_string_free(char *string);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LFM2_H */
