"""A chat through the C API, with nothing but Python's standard library: reads one question per line.

cargo build --release -p lfm2-wgpu-capi
python3 examples/python/chat.py target/release/liblfm2.so [MODEL]     # .dylib on macOS, lfm2.dll on Windows
"""

import ctypes
import json
import sys
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_void_p

ABI_VERSION, OK, DONE = 1, 0, 2

lfm2 = ctypes.CDLL(sys.argv[1])
POINTER, TEXT = ctypes.POINTER(c_void_p), (c_char_p, c_size_t)
for name, *arguments in (
    ("engine_new", c_uint32, *TEXT, c_void_p, c_void_p, POINTER, POINTER),
    ("chat", c_void_p, *TEXT, c_void_p, c_void_p, POINTER, POINTER),
    ("next", c_void_p, c_int64, POINTER, c_void_p, POINTER),
    ("string_free", c_void_p),
    ("generation_free", c_void_p),
    ("engine_free", c_void_p),
):
    function = getattr(lfm2, "lfm2_" + name)
    function.argtypes = arguments
    function.restype = None if name.endswith("free") else c_int32
lfm2.lfm2_error_message.argtypes, lfm2.lfm2_error_message.restype = (c_void_p,), c_char_p


def call(function, *arguments):
    error = c_void_p()
    status = function(*arguments, byref(error))
    if status < 0:
        sys.exit(lfm2.lfm2_error_message(error).decode())
    return status


def deltas(engine, messages):
    request = json.dumps({"messages": messages, "stream": True, "temperature": 0}).encode()
    answer, text = c_void_p(), c_void_p()
    call(lfm2.lfm2_chat, engine, request, len(request), None, None, byref(answer))
    while call(lfm2.lfm2_next, answer, -1, byref(text), None) == OK:
        yield json.loads(ctypes.string_at(text))
        lfm2.lfm2_string_free(text)
    lfm2.lfm2_string_free(text)
    lfm2.lfm2_generation_free(answer)


options = json.dumps({"model": sys.argv[2]} if len(sys.argv) > 2 else {}).encode()
engine, messages = c_void_p(), []
call(lfm2.lfm2_engine_new, ABI_VERSION, options, len(options), None, None, byref(engine))
for line in sys.stdin:
    messages.append({"role": "user", "content": line.strip()})
    answer = ""
    for delta in deltas(engine, messages):
        print(delta.get("content", ""), end="", flush=True)
        answer += delta.get("content", "")
    print()
    messages.append({"role": "assistant", "content": answer})
lfm2.lfm2_engine_free(engine)
