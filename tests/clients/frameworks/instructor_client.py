"""Checks `lfm2 serve` with Instructor. tools/clients.sh --all runs it."""

import instructor
from common import MODEL, TOO_LONG, URL, City, expect, run
from openai import OpenAI


def client(mode):
    return instructor.from_openai(OpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0), mode=mode)


def ask(mode, text="Describe a city.", **options):
    messages = [{"role": "user", "content": text}]
    create = client(mode).chat.completions.create
    return create(model=MODEL, messages=messages, response_model=City, temperature=0, max_tokens=200, max_retries=0,
                  **options)


def schema():
    for mode in (instructor.Mode.TOOLS, instructor.Mode.TOOLS_STRICT, instructor.Mode.JSON_SCHEMA):
        city = ask(mode)
        expect(isinstance(city, City), f"{mode} gave {city!r}")


def stream():
    messages = [{"role": "user", "content": "Describe a city."}]
    create = client(instructor.Mode.TOOLS).chat.completions.create_partial
    cities = list(create(model=MODEL, messages=messages, response_model=City, temperature=0, max_tokens=200))
    expect(cities and cities[-1].name is not None, f"the last partial answer is {cities[-1:]!r}")


def errors():
    try:
        ask(instructor.Mode.TOOLS, TOO_LONG)
    except Exception as error:
        expect("context" in str(error), f"the error does not name the context: {error}")
    else:
        raise AssertionError("a prompt that is too long was answered")


run([schema, stream, errors])
