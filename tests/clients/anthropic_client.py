"""Checks a running `lfm2 serve` with Anthropic's client for Python. tools/clients.sh runs it.

LFM2_URL is the address of a server of the demonstration model. The first check that fails ends the script with
status 1.
"""

import json
import os
import time
import urllib.request

import anthropic
from anthropic import Anthropic


URL = os.environ["LFM2_URL"].rstrip("/")
MODEL = "demo"
# A LoRA adapter of random numbers.
ADAPTER = "tuned"
SUM = [{"role": "user", "content": "What is 2 + 3?"}]
ANSWER = "2 + 3 = 5."
VOLUME = [{"role": "user", "content": "Set the volume to 36"}]
SCHEMA = {"type": "object", "properties": {"level": {"type": "integer"}}, "required": ["level"]}
TOOLS = [{"name": "set_volume", "description": "Set the volume", "input_schema": SCHEMA}]

client = Anthropic(base_url=URL, api_key="any", max_retries=0, timeout=60)


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def equal(got, wanted, name):
    expect(got == wanted, f"{name}: got {got!r}, wanted {wanted!r}")


def options(messages=SUM, extra_body=None, **more):
    # The client knows no options of sampling.
    body = {"temperature": 0, **(extra_body or {})}
    return {"model": MODEL, "messages": messages, "max_tokens": 60, "extra_body": body, **more}


def create(messages=SUM, **more):
    return client.messages.create(**options(messages, **more))


def text_of(message):
    equal([block.type for block in message.content], ["text"], "the blocks")
    return message.content[0].text


def refused(kind, request, name):
    """Runs a request that the server must refuse with this class and type of error, and returns the error."""
    try:
        answer = request()
    except anthropic.APIStatusError as error:
        expect(type(error) is kind, f"wanted {kind.__name__}, got {type(error).__name__}: {error}")
        equal((error.body["type"], error.body["error"]["type"]), ("error", name), "the error's types")
        expect(error.body["error"]["message"] and error.request_id, f"the error has no message or id: {error.body}")
        return error
    raise AssertionError(f"wanted {kind.__name__}, got an answer: {answer}")


def models():
    listed = list(client.models.list())
    named = [(name, "model", name) for name in (MODEL, ADAPTER)]
    equal([(model.id, model.type, model.display_name) for model in listed], named, "the models")
    expect(listed[0].created_at.year >= 2024, f"created_at is {listed[0].created_at}")
    equal(client.models.retrieve(MODEL).id, MODEL, "the model")


def adapters():
    first, second = (create(model=ADAPTER, max_tokens=24) for _ in range(2))
    equal(first.model, ADAPTER, "the answer's model")
    expect(text_of(first) != ANSWER, "the adapter changes nothing")
    equal(text_of(second), text_of(first), "the second text")
    equal(text_of(create()), ANSWER, "the model's own text")


def whole():
    answers = [create(), create()]
    for answer in answers:
        equal((answer.type, answer.role, answer.model, text_of(answer)), ("message", "assistant", MODEL, ANSWER), "answer")
        equal((answer.stop_reason, answer.stop_sequence), ("end_turn", None), "the end")
    expect(answers[0].id != answers[1].id, "two answers have one id")
    usage = answers[1].usage
    expect(usage.cache_read_input_tokens > 0 and usage.input_tokens > 0 and usage.output_tokens > 0, f"usage is {usage}")
    equal(create(max_tokens=3).stop_reason, "max_tokens", "the end of an answer that was cut")
    stopped = create(stop_sequences=["never", " ="])
    got = (text_of(stopped), stopped.stop_reason, stopped.stop_sequence)
    equal(got, ("2 + 3", "stop_sequence", " ="), "an answer with stop sequences")
    blocks = [{"type": "text", "text": "What is 2 + 3?", "cache_control": {"type": "ephemeral"}}]
    system = [{"type": "text", "text": "x-anthropic-billing-header: cch=0f3;"}, {"type": "text", "text": "Be brief."}]
    more = {"metadata": {"user_id": "u"}, "thinking": {"type": "adaptive"}, "cache_control": {"type": "ephemeral"},
            "extra_headers": {"anthropic-beta": "none"}}
    equal(text_of(create([{"role": "user", "content": blocks}], **more)), ANSWER, "the answer to blocks")
    expect(create(system=system).content, "no answer with instructions")


def streams():
    with client.messages.stream(**options()) as stream:
        equal("".join(stream.text_stream), ANSWER, "the streamed text")
        message = stream.get_final_message()
    equal((text_of(message), message.stop_reason), (ANSWER, "end_turn"), "the message of the stream")
    usage = message.usage
    equal(usage.input_tokens + usage.cache_read_input_tokens, count(SUM), "the tokens of the prompt")
    kinds = [event.type for event in create(stream=True)]
    equal((kinds[:2], kinds[-3:]), (["message_start", "content_block_start"],
          ["content_block_stop", "message_delta", "message_stop"]), "the first and last events")


def count(messages, **more):
    return client.messages.count_tokens(model=MODEL, messages=messages, **more).input_tokens


def counts():
    expect(count(SUM) < count(SUM, tools=TOOLS), "tools have no tokens")
    expect(count(SUM) < count(SUM, system="Be brief."), "instructions have no tokens")


def is_call(message):
    equal((message.stop_reason, [block.type for block in message.content]), ("tool_use", ["tool_use"]), "a call")
    call = message.content[0]
    equal((call.name, call.input), ("set_volume", {"level": 36}), "the call")
    return call


def tools_in_turns():
    ids = set()
    for stream in (False, True):
        if stream:
            with client.messages.stream(**options(VOLUME, tools=TOOLS)) as events:
                message = events.get_final_message()
        else:
            message = create(VOLUME, tools=TOOLS)
        call = is_call(message)
        ids.add(call.id)
        result = {"type": "tool_result", "tool_use_id": call.id, "content": json.dumps({"result": "ok"})}
        # The answer goes back to the server as it is.
        turns = [*VOLUME, {"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
        equal(text_of(create(turns, tools=TOOLS)), "The volume is set to 36.", "the answer after the call")
    equal(len(ids), 2, "number of ids")
    for choice in ({"type": "any", "disable_parallel_tool_use": True}, {"type": "tool", "name": "set_volume"}):
        is_call(create(VOLUME, tools=TOOLS, tool_choice=choice))
    equal(create(VOLUME, tools=TOOLS, tool_choice={"type": "none"}).stop_reason, "end_turn", "the end without tools")


def bad_requests():
    bad, missing = anthropic.BadRequestError, anthropic.NotFoundError
    for wrong in ({"extra_body": {"temperature": "hot"}}, {"extra_body": {"top_k": 1.5}}, {"tools": "all"},
                  {"extra_body": {"colour": "red"}}, {"messages": []}, {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}):
        refused(bad, lambda: create(**wrong), "invalid_request_error")
    long = [{"role": "user", "content": "What is 2 + 3? " * 600}]
    for stream in (False, True):
        refused(bad, lambda: create(long, stream=stream), "invalid_request_error")
    refused(missing, lambda: client.messages.create(**{**options(), "model": "claude"}), "not_found_error")
    refused(missing, lambda: client.messages.batches.list(), "not_found_error")


def cancel():
    endless = options(max_tokens=1900, extra_body={"ignore_eos": True})
    with client.messages.create(stream=True, **endless) as stream:
        next(iter(stream))
    end = time.monotonic() + 2
    while True:
        with urllib.request.urlopen(f"{URL}/health", timeout=30) as answer:
            if json.load(answer)["in_flight"] == 0:
                return
        expect(time.monotonic() < end, "an answer still runs 2 s after the client has left")
        time.sleep(0.02)


CHECKS = [models, adapters, whole, streams, counts, tools_in_turns, bad_requests, cancel]

if __name__ == "__main__":
    for check in CHECKS:
        check()
        print(f"ok {check.__name__}", flush=True)
