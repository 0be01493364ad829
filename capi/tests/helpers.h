// Checks and calls that the tests of abi.c share.

#ifndef HELPERS_H
#define HELPERS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lfm2.h"

#define QUESTION "\"messages\":[{\"role\":\"user\",\"content\":\"What is lfm2-wgpu?\"}]"
#define GREEDY "\"temperature\":0"
static const char STREAMED[] = "{" QUESTION "," GREEDY ",\"stream\":true}";
static const char WHOLE[] = "{" QUESTION "," GREEDY "}";
enum { LONGEST = 1 << 16 };

#define CHECK(condition) check(condition, #condition, __LINE__)
static void check(int holds, const char *condition, int line) {
    if (holds) return;
    fprintf(stderr, "abi.c:%d: does not hold: %s\n", line, condition);
    exit(1);
}

// A call that fails with this status, and a message that begins with these words.
#define REFUSED(call, status, words)                    \
    do {                                                \
        lfm2_error *error = NULL;                       \
        lfm2_status got = (call);                       \
        refused(got, status, error, words, __LINE__);   \
    } while (0)
static void refused(lfm2_status got, lfm2_status status, lfm2_error *error, const char *words,
                    int line) {
    const char *message = lfm2_error_message(error);
    if (got != status || !message || strncmp(message, words, strlen(words)) != 0) {
        fprintf(stderr, "abi.c:%d: status %d, %s\n", line, (int)got, message ? message : "no error");
        exit(1);
    }
    lfm2_error_free(error);
}

#define DONE(call)                                                            \
    do {                                                                      \
        lfm2_error *error = NULL;                                             \
        lfm2_status got = (call);                                             \
        if (got < 0) fprintf(stderr, "%s\n", lfm2_error_message(error));      \
        CHECK(got == LFM2_OK && !error);                                      \
    } while (0)

static lfm2_engine *make(const char *options) {
    lfm2_engine *engine = NULL;
    DONE(lfm2_engine_new(LFM2_ABI_VERSION, options, strlen(options), NULL, NULL, &engine, &error));
    return engine;
}

static lfm2_generation *ask(const lfm2_engine *engine, const char *request) {
    lfm2_generation *answer = NULL;
    DONE(lfm2_chat(engine, request, strlen(request), NULL, NULL, &answer, &error));
    return answer;
}

// Appends the content in a delta or a whole answer, as it is escaped.
static void append(char *text, const char *json) {
    const char *start = strstr(json, "\"content\":\""), *end;
    if (!start) return;
    start += strlen("\"content\":\"");
    for (end = start; *end != '"'; end++) end += *end == '\\';
    size_t have = strlen(text), more = (size_t)(end - start);
    CHECK(have + more < LONGEST);
    memcpy(text + have, start, more);
    text[have + more] = '\0';
}

// Reads an answer to its end, whose JSON is returned.
static char *read_all(lfm2_generation *answer, int64_t timeout_ms, char *text) {
    for (;;) {
        char *json = NULL;
        size_t len = 0;
        lfm2_error *error = NULL;
        lfm2_status status = lfm2_next(answer, timeout_ms, &json, &len, &error);
        if (status < 0) fprintf(stderr, "%s\n", lfm2_error_message(error));
        CHECK(status >= 0 && !error);
        CHECK((status == LFM2_PENDING) == !json && len == (json ? strlen(json) : 0));
        if (status == LFM2_DONE) return json;
        if (json) append(text, json);
        lfm2_string_free(json);
    }
}

static void answer_of(const lfm2_engine *engine, const char *request, char *text) {
    lfm2_generation *answer = ask(engine, request);
    *text = '\0';
    char *end = read_all(answer, -1, text);
    append(text, end);
    CHECK(strstr(end, "\"finish_reason\":\"stop\"") != NULL);
    lfm2_string_free(end);
    lfm2_generation_free(answer);
}

static void pause_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

#endif  /* HELPERS_H */
