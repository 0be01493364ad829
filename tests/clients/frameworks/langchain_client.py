"""Checks `lfm2 serve` with LangChain's package for OpenAI. tools/clients.sh --all runs it."""

import openai
from common import ANSWER, MODEL, QUESTION, TOO_LONG, URL, VOLUME, VOLUME_ANSWER, City, equal, expect, run
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="any", temperature=0, max_retries=0, timeout=60)


@tool
def set_volume(level: int) -> str:
    """Set the volume"""
    return '{"result": "ok"}'


def plain():
    answer = model.invoke(QUESTION)
    equal(answer.content, ANSWER, "the answer")
    usage = answer.usage_metadata
    equal(usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"], "total_tokens")
    equal(answer.response_metadata["finish_reason"], "stop", "finish_reason")


def stream():
    chunks = list(model.bind(stream_options={"include_usage": True}).stream(QUESTION))
    equal("".join(chunk.content for chunk in chunks), ANSWER, "the joined chunks")
    expect(any(chunk.usage_metadata for chunk in chunks), "no chunk has the usage")


def tools_in_turns():
    bound = model.bind_tools([set_volume])
    messages = [HumanMessage(VOLUME)]
    called = bound.invoke(messages)
    equal([(call["name"], call["args"]) for call in called.tool_calls], [("set_volume", {"level": 36})], "the calls")
    call = called.tool_calls[0]
    messages += [called, ToolMessage(set_volume.invoke(call["args"]), tool_call_id=call["id"])]
    equal(bound.invoke(messages).content, VOLUME_ANSWER, "the text after the result")
    whole = None
    for chunk in bound.stream([HumanMessage(VOLUME)]):
        whole = chunk if whole is None else whole + chunk
    equal([(call["name"], call["args"]) for call in whole.tool_calls], [("set_volume", {"level": 36})], "streamed calls")


def required():
    for choice in ("any", "set_volume"):
        called = model.bind_tools([set_volume], tool_choice=choice).invoke(QUESTION)
        equal([call["name"] for call in called.tool_calls], ["set_volume"], f"the calls with {choice}")
        expect(isinstance(called.tool_calls[0]["args"]["level"], int), "the level is no integer")


def schema():
    for method in ("json_schema", "function_calling"):
        city = model.with_structured_output(City, method=method).invoke("Describe a city.")
        expect(isinstance(city, City), f"{method} gave {city!r}")


def errors():
    for ask in (lambda: model.invoke(TOO_LONG), lambda: model.bind(extra_body={"colour": "red"}).invoke(QUESTION)):
        try:
            ask()
        except openai.BadRequestError as error:
            expect(error.body["message"], "the error has no message")
        else:
            raise AssertionError("a bad request was answered")


def cancel():
    for chunk in model.bind(max_tokens=1900, extra_body={"ignore_eos": True}).stream(QUESTION):
        if chunk.content:
            break


run([plain, stream, tools_in_turns, required, schema, errors, cancel])
