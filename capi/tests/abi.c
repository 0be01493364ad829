// Drives the library as a C program does: `abi TEST [ARGUMENT]`, where TEST is in the table at the end. c.rs runs it.

#define _POSIX_C_SOURCE 200809L
#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "helpers.h"

static void nulls(const char *unused) {
    (void)unused;
    lfm2_engine *engine = NULL, *real = make("{}");
    lfm2_generation *answer = NULL, *talk = ask(real, STREAMED);
    char *json = NULL;
    size_t tokens = 7;
    const uint32_t abi = LFM2_ABI_VERSION;
    const lfm2_status wrong = LFM2_INVALID_ARGUMENT;
    CHECK(lfm2_abi_version() == LFM2_ABI_VERSION);
    REFUSED(lfm2_engine_new(abi, "{}", 2, NULL, NULL, NULL, &error), wrong, "engine: is null");
    REFUSED(lfm2_engine_new(abi, NULL, 2, NULL, NULL, &engine, &error), wrong, "options: is null");
    REFUSED(lfm2_engine_info(NULL, &json, NULL, &error), wrong, "engine: is null");
    REFUSED(lfm2_engine_info(real, NULL, NULL, &error), wrong, "json: is null");
    REFUSED(lfm2_chat(NULL, "{}", 2, NULL, NULL, &answer, &error), wrong, "engine: is null");
    REFUSED(lfm2_chat(real, NULL, 0, NULL, NULL, &answer, &error), wrong, "request: is null");
    REFUSED(lfm2_chat(real, "{}", 2, NULL, NULL, NULL, &error), wrong, "generation: is null");
    REFUSED(lfm2_next(NULL, 0, &json, NULL, &error), wrong, "generation: is null");
    REFUSED(lfm2_next(talk, 0, NULL, NULL, &error), wrong, "json: is null");
    REFUSED(lfm2_cancel(NULL, &error), wrong, "generation: is null");
    REFUSED(lfm2_save(NULL, "{}", 2, "x", 1, &tokens, &error), wrong, "engine: is null");
    REFUSED(lfm2_save(real, NULL, 2, "x", 1, &tokens, &error), wrong, "request: is null");
    REFUSED(lfm2_save(real, "{}", 2, NULL, 1, &tokens, &error), wrong, "path: is null");
    REFUSED(lfm2_restore(NULL, "x", 1, &tokens, &error), wrong, "engine: is null");
    REFUSED(lfm2_restore(real, NULL, 1, &tokens, &error), wrong, "path: is null");
    // Without a place for the error there is a status still.
    CHECK(lfm2_chat(NULL, NULL, 0, NULL, NULL, &answer, NULL) == wrong);
    CHECK(lfm2_cancel(NULL, NULL) == wrong);
    CHECK(!lfm2_error_message(NULL) && !lfm2_error_code(NULL));
    CHECK(!engine && !answer && !json && tokens == 7);
    lfm2_engine_free(NULL);
    lfm2_generation_free(NULL);
    lfm2_error_free(NULL);
    lfm2_string_free(NULL);
    lfm2_generation_free(talk);
    lfm2_engine_free(real);
}

static void wrong_handles(const char *unused) {
    (void)unused;
    lfm2_engine *engine = make("{}"), *none = engine;
    lfm2_generation *answer = ask(engine, STREAMED), *no_answer = answer;
    lfm2_error *problem = NULL;
    char *json = NULL;
    uint64_t zeros[8] = {0};
    const lfm2_status wrong = LFM2_INVALID_ARGUMENT;
    const char *is_other = "engine: is a handle of another kind, or was freed";
    const lfm2_engine *others[] = {(lfm2_engine *)answer, (lfm2_engine *)zeros,
                                   (lfm2_engine *)((char *)engine + 1)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        REFUSED(lfm2_chat(others[i], "{}", 2, NULL, NULL, &no_answer, &error), wrong, is_other);
        REFUSED(lfm2_engine_info(others[i], &json, NULL, &error), wrong, is_other);
        REFUSED(lfm2_restore(others[i], "x", 1, NULL, &error), wrong, is_other);
        CHECK(!no_answer);
    }
    REFUSED(lfm2_next((lfm2_generation *)engine, 0, &json, NULL, &error), wrong, "generation: is");
    REFUSED(lfm2_cancel((lfm2_generation *)zeros, &error), wrong, "generation: is");
    CHECK(lfm2_cancel((lfm2_generation *)engine, &problem) == wrong && problem);
    CHECK(strcmp(lfm2_error_code(problem), "invalid_argument") == 0);
    REFUSED(lfm2_engine_info((lfm2_engine *)problem, &json, NULL, &error), wrong, is_other);
    CHECK(!lfm2_error_message((lfm2_error *)engine) && !lfm2_error_code((lfm2_error *)zeros));
    // Nothing of another kind is freed.
    lfm2_engine_free((lfm2_engine *)answer);
    lfm2_engine_free((lfm2_engine *)zeros);
    lfm2_generation_free((lfm2_generation *)engine);
    lfm2_error_free((lfm2_error *)answer);
    lfm2_error_free(problem);

    REFUSED(lfm2_engine_new(LFM2_ABI_VERSION + 1, "{}", 2, NULL, NULL, &none, &error), wrong,
            "abi_version: is 2, and this library has 1");
    CHECK(!none);
    const struct {
        const char *options;
        lfm2_status status;
        const char *words;
    } options[] = {
        {"", LFM2_INVALID_REQUEST, "options: not an object as JSON"},
        {"[]", LFM2_INVALID_REQUEST, "options: not an object as JSON"},
        {"{\"ctx\": 1}", LFM2_INVALID_REQUEST, "ctx: is no option"},
        {"{\"context\": \"4096\"}", LFM2_INVALID_REQUEST, "context: invalid type: string"},
        {"{\"context\": -1}", LFM2_INVALID_REQUEST, "context: "},
        {"{\"parallel\": 0}", LFM2_INVALID_REQUEST, "parallel: got 0, need 1 to 256"},
        {"{\"memory\": 1000}", LFM2_OUT_OF_MEMORY, "the model needs"},
        {"{\"weights\": \"q2\"}", LFM2_INVALID_REQUEST, "weights: got q2, need f16 or q8 or q4"},
        {"{\"kv\": 8}", LFM2_INVALID_REQUEST, "kv: invalid type"},
        {"{\"activations\": \"int4\"}", LFM2_INVALID_REQUEST, "activations: got int4, need float"},
        {"{\"multiply\": \"cores\"}", LFM2_INVALID_REQUEST, "multiply: got cores, need lanes"},
        {"{\"adapter\": \"no such\"}", LFM2_NO_ADAPTER, "--adapter no such"},
        {"{\"limits\": \"all\"}", LFM2_INVALID_REQUEST, "limits: got all, need adapter or default"},
        {"{\"chat_template\": \"{% if\"}", LFM2_INVALID_REQUEST, "chat_template: "},
        {"{\"model\": \"/nonexistent\"}", LFM2_BAD_MODEL, "/nonexistent"},
        {"{\"model\": \"/dev/null\"}", LFM2_BAD_MODEL, "/dev/null"},
        {"\xff", LFM2_INVALID_ARGUMENT, "options: is not UTF-8 at byte 0"},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const char *text = options[i].options;
        REFUSED(lfm2_engine_new(LFM2_ABI_VERSION, text, strlen(text), NULL, NULL, &none, &error),
                options[i].status, options[i].words);
    }
    const struct {
        const char *request, *words;
    } requests[] = {
        {"", "request: not valid JSON"},
        {"{}", "messages: missing"},
        {"{" QUESTION ", \"best_of\": 2}", "best_of: only 1 is supported"},
        {"{" QUESTION ", \"temperature\": -1}", "temperature: "},
    };
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const char *text = requests[i].request;
        REFUSED(lfm2_chat(engine, text, strlen(text), NULL, NULL, &no_answer, &error),
                LFM2_INVALID_REQUEST, requests[i].words);
    }
    // None of this has harmed them.
    char text[LONGEST] = "";
    lfm2_string_free(read_all(answer, -1, text));
    CHECK(*text);
    lfm2_generation_free(answer);
    lfm2_engine_free(engine);
}

// Polled in short waits, polled in one, whole, after the engine was freed: the answers are the same.
static void ways(const char *unused) {
    (void)unused;
    static char expected[LONGEST], text[LONGEST], whole[LONGEST];
    lfm2_engine *engine = make("{\"context\": 2048, \"limits\": \"default\", \"kv\": \"f32\"}");
    char *info = NULL;
    size_t len = 0;
    DONE(lfm2_engine_info(engine, &info, &len, &error));
    CHECK(strlen(info) == len && strstr(info, "\"model\":\"demo\",\"context\":2048"));
    lfm2_string_free(info);
    answer_of(engine, STREAMED, expected);
    CHECK(*expected);
    answer_of(engine, WHOLE, whole);
    CHECK(strcmp(whole, expected) == 0);
    lfm2_generation *answer = ask(engine, STREAMED);
    lfm2_engine_free(engine);
    char *end = read_all(answer, 1, text);
    CHECK(strcmp(text, expected) == 0 && strstr(end, "\"completion_tokens\":"));
    lfm2_string_free(end);
    // After the end there is no more JSON.
    CHECK(lfm2_next(answer, -1, &end, &len, NULL) == LFM2_DONE && !end && !len);
    lfm2_generation_free(answer);
}

struct asking {
    const lfm2_engine *engine;
    char text[LONGEST];
};

static void *ask_in_thread(void *argument) {
    struct asking *asking = (struct asking *)argument;
    for (int i = 0; i < 3; i++) answer_of(asking->engine, STREAMED, asking->text);
    return NULL;
}

static void *read_in_thread(void *argument) {
    static char text[LONGEST];
    return read_all((lfm2_generation *)argument, -1, text);
}

static void two_threads(const char *unused) {
    (void)unused;
    static char expected[LONGEST], request[LONGEST];
    static struct asking asking[2];
    pthread_t threads[2];
    lfm2_engine *engine = make("{\"parallel\": 2}");
    answer_of(engine, STREAMED, expected);
    for (int i = 0; i < 2; i++) {
        asking[i].engine = engine;
        CHECK(pthread_create(&threads[i], NULL, ask_in_thread, &asking[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(strcmp(asking[i].text, expected) == 0);
    }

    // A long prompt: one thread waits for its answer while another one reads and cancels.
    strcpy(request, "{" GREEDY ",\"messages\":[{\"role\":\"user\",\"content\":\"");
    char *at = request + strlen(request);
    for (int i = 0; i < 900; i++) at += sprintf(at, "%d ", i % 10);
    strcpy(at, "\"}]}");
    lfm2_generation *answer = ask(engine, request);
    CHECK(pthread_create(&threads[0], NULL, read_in_thread, answer) == 0);
    char *json = NULL;
    lfm2_status status;
    do {
        pause_ms(1);
        status = lfm2_next(answer, 0, &json, NULL, NULL);
    } while (status == LFM2_PENDING);
    CHECK(status == LFM2_BUSY && !json);
    DONE(lfm2_cancel(answer, &error));
    void *end = NULL;
    CHECK(pthread_join(threads[0], &end) == 0);
    CHECK(strstr((char *)end, "\"finish_reason\":null") != NULL);
    lfm2_string_free((char *)end);
    lfm2_generation_free(answer);
    lfm2_engine_free(engine);
}

struct called {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    lfm2_generation *answer;
    int calls, most, ended, frees;
    char text[LONGEST], end[LONGEST];
};

static int32_t on_step(void *user, lfm2_status status, const char *json, size_t len,
                       const lfm2_error *error) {
    struct called *called = (struct called *)user;
    CHECK(json && strlen(json) == len && len < LONGEST && !error && !called->ended);
    pthread_mutex_lock(&called->lock);
    called->calls++;
    int last = called->calls == called->most;
    if (status == LFM2_OK) append(called->text, json);
    if (status == LFM2_DONE) strcpy(called->end, json);
    called->ended = status != LFM2_OK || (last && called->frees);
    // The handle is there before the first call.
    if (last && called->frees) lfm2_generation_free(called->answer);
    pthread_cond_signal(&called->changed);
    pthread_mutex_unlock(&called->lock);
    return last;
}

// An answer by callback that is stopped after `most` calls, or freed then.
static struct called *by_callback(const lfm2_engine *engine, int most, int frees) {
    static struct called called;
    memset(&called, 0, sizeof called);
    pthread_mutex_init(&called.lock, NULL);
    pthread_cond_init(&called.changed, NULL);
    called.most = most;
    called.frees = frees;
    DONE(lfm2_chat(engine, STREAMED, strlen(STREAMED), on_step, &called, &called.answer, &error));
    char *json = NULL;
    if (!frees) {
        REFUSED(lfm2_next(called.answer, 0, &json, NULL, &error), LFM2_INVALID_ARGUMENT,
                "generation: has a callback");
    }
    pthread_mutex_lock(&called.lock);
    while (!called.ended) pthread_cond_wait(&called.changed, &called.lock);
    pthread_mutex_unlock(&called.lock);
    if (!frees) lfm2_generation_free(called.answer);
    return &called;
}

static int32_t on_progress(void *user, const char *phase, uint64_t done, uint64_t total) {
    int *left = (int *)user;
    CHECK((strcmp(phase, "compile") == 0 || strcmp(phase, "upload") == 0) && done <= total);
    return --*left == 0;
}

static void callbacks(const char *unused) {
    (void)unused;
    static char expected[LONGEST];
    lfm2_engine *engine = NULL;
    int left = 1;
    REFUSED(lfm2_engine_new(LFM2_ABI_VERSION, NULL, 0, on_progress, &left, &engine, &error),
            LFM2_CANCELLED, "loading was cancelled");
    CHECK(left <= 0 && !engine);
    left = 0;
    DONE(lfm2_engine_new(LFM2_ABI_VERSION, NULL, 0, on_progress, &left, &engine, &error));
    CHECK(left < 0);
    answer_of(engine, STREAMED, expected);
    struct called *called = by_callback(engine, 0, 0);
    CHECK(strcmp(called->text, expected) == 0);
    CHECK(strstr(called->end, "\"finish_reason\":\"stop\"") != NULL);
    called = by_callback(engine, 2, 0);
    CHECK(called->calls == 3 && strstr(called->end, "\"finish_reason\":null"));
    called = by_callback(engine, 2, 1);
    pause_ms(200);
    CHECK(called->calls == 2 && !*called->end);
    // Freed by another thread, at any time.
    for (int i = 0; i < 20; i++) {
        static struct called started;
        memset(&started, 0, sizeof started);
        pthread_mutex_init(&started.lock, NULL);
        pthread_cond_init(&started.changed, NULL);
        DONE(lfm2_chat(engine, STREAMED, strlen(STREAMED), on_step, &started, &started.answer,
                       &error));
        pause_ms(i);
        lfm2_generation_free(started.answer);
        int calls = started.calls;
        pause_ms(5);
        CHECK(calls == started.calls);
    }
    lfm2_engine_free(engine);
}

// Bytes in use, without those that malloc keeps.
static long resident(void) {
    long all, pages;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &all, &pages) == 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int open_files(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}

static void cycle(void) {
    static char text[LONGEST];
    lfm2_engine *engine = make("{\"context\": 512}");
    answer_of(engine, STREAMED, text);
    CHECK(*text);
    lfm2_engine_free(engine);
}

// Makes, uses and frees `argument` engines; after the first ten, memory and files stay as they are.
static void cycles(const char *argument) {
    const int all = atoi(argument), settle = 10;
    long bytes = 0;
    int files = 0;
    CHECK(all > settle);
    // With one heap for each thread, malloc_trim leaves parts of many.
    CHECK(mallopt(M_ARENA_MAX, 1) == 1);
    for (int i = 1; i <= all; i++) {
        cycle();
        if (i == settle) bytes = resident(), files = open_files();
        if (i % settle == 0) {
            fprintf(stderr, "%d cycles: %ld KiB, %d files\n", i, resident() >> 10, open_files());
        }
    }
    CHECK(open_files() == files);
    CHECK(resident() - bytes < 4 << 20);
}

static void state(const char *folder) {
    static char text[LONGEST], request[LONGEST], path[4096];
    size_t saved = 0, restored = 0;
    lfm2_engine *engine = make("{}");
    snprintf(path, sizeof path, "%s/state", folder);
    DONE(lfm2_save(engine, WHOLE, strlen(WHOLE), path, strlen(path), &saved, &error));
    CHECK(saved == 0 && access(path, F_OK) != 0);
    answer_of(engine, WHOLE, text);
    const int written = snprintf(
        request, sizeof request,
        "{" GREEDY ",\"messages\":[{\"role\":\"user\",\"content\":\"What is lfm2-wgpu?\"},"
        "{\"role\":\"assistant\",\"content\":\"%s\"},{\"role\":\"user\",\"content\":\"Why?\"}]}",
        text);
    CHECK(written > 0 && written < LONGEST);
    DONE(lfm2_save(engine, request, strlen(request), path, strlen(path), &saved, &error));
    CHECK(saved > 0);
    REFUSED(lfm2_save(engine, request, strlen(request), folder, strlen(folder), NULL, &error),
            LFM2_SAVED_STATE, folder);
    lfm2_engine_free(engine);

    engine = make("{}");
    REFUSED(lfm2_restore(engine, "/nonexistent", 12, NULL, &error), LFM2_BAD_MODEL, "/nonexistent");
    DONE(lfm2_restore(engine, path, strlen(path), &restored, &error));
    CHECK(restored == saved);
    lfm2_generation *answer = ask(engine, request);
    char *end = read_all(answer, -1, text), cached[64];
    snprintf(cached, sizeof cached, "\"cached_tokens\":%zu", saved);
    CHECK(strstr(end, cached) != NULL);
    lfm2_string_free(end);
    lfm2_generation_free(answer);
    lfm2_engine_free(engine);
}

// The text of an answer that may be cut.
static void short_answer(const lfm2_engine *engine, const char *request, char *text) {
    lfm2_generation *answer = ask(engine, request);
    *text = '\0';
    char *end = read_all(answer, -1, text);
    append(text, end);
    lfm2_string_free(end);
    lfm2_generation_free(answer);
}

// `folder` has an adapter for the demonstration model.
static void lora(const char *folder) {
    static char plain[LONGEST], text[LONGEST];
    static const char CHOSEN[] = "{" QUESTION "," GREEDY ",\"max_tokens\":8,\"lora\":\"a\"}";
    static const char MODEL[] = "{" QUESTION "," GREEDY ",\"max_tokens\":8,\"model\":\"a\"}";
    static const char OFF[] = "{" QUESTION "," GREEDY ",\"max_tokens\":8,\"lora\":{\"name\":\"a\",\"scale\":0}}";
    static const char NONE[] = "{" QUESTION "," GREEDY ",\"max_tokens\":8}";
    const size_t len = strlen(folder);
    lfm2_generation *answer = NULL;
    lfm2_engine *engine = make("{\"context\": 512}");
    char *json = NULL;
    REFUSED(lfm2_engine_load_lora(NULL, "a", 1, folder, len, 1, &error), LFM2_INVALID_ARGUMENT,
            "engine: is null");
    REFUSED(lfm2_engine_load_lora(engine, NULL, 1, folder, len, 1, &error), LFM2_INVALID_ARGUMENT,
            "name: is null");
    REFUSED(lfm2_engine_load_lora(engine, "a", 1, "/nonexistent", 12, 1, &error), LFM2_BAD_MODEL,
            "/nonexistent");
    REFUSED(lfm2_engine_load_lora(engine, " ", 1, folder, len, 1, &error), LFM2_INVALID_REQUEST,
            "LoRA adapter");
    REFUSED(lfm2_chat(engine, CHOSEN, strlen(CHOSEN), NULL, NULL, &answer, &error),
            LFM2_INVALID_REQUEST, "lora: \"a\" is not loaded");
    short_answer(engine, NONE, plain);
    DONE(lfm2_engine_load_lora(engine, "a", 1, folder, len, 1, &error));
    REFUSED(lfm2_engine_load_lora(engine, "a", 1, folder, len, 1, &error), LFM2_INVALID_REQUEST,
            "LoRA adapter a: is loaded already");
    DONE(lfm2_engine_info(engine, &json, NULL, &error));
    CHECK(strstr(json, "\"loras\":[{\"name\":\"a\",\"rank\":2,\"scale\":1.0}]") != NULL);
    lfm2_string_free(json);
    short_answer(engine, CHOSEN, text);
    CHECK(strcmp(text, plain) != 0);
    short_answer(engine, OFF, text);
    CHECK(strcmp(text, plain) == 0);
    short_answer(engine, MODEL, text);
    CHECK(strcmp(text, plain) != 0);
    DONE(lfm2_engine_unload_lora(engine, "a", 1, &error));
    REFUSED(lfm2_engine_unload_lora(engine, "a", 1, &error), LFM2_INVALID_REQUEST,
            "LoRA adapter a: is not loaded");
    REFUSED(lfm2_save(engine, CHOSEN, strlen(CHOSEN), "/nonexistent/x", 14, NULL, &error),
            LFM2_INVALID_REQUEST, "lora: \"a\" is not loaded");
    short_answer(engine, NONE, text);
    CHECK(strcmp(text, plain) == 0);
    lfm2_engine_free(engine);
}

int main(int count, char **words) {
    const struct {
        const char *name;
        void (*run)(const char *);
    } tests[] = {
        {"nulls", nulls},         {"wrong_handles", wrong_handles}, {"ways", ways},
        {"callbacks", callbacks}, {"two_threads", two_threads},     {"cycles", cycles},
        {"state", state},         {"lora", lora},
    };
    for (size_t i = 0; count > 1 && i < sizeof tests / sizeof *tests; i++) {
        if (strcmp(words[1], tests[i].name) != 0) continue;
        tests[i].run(count > 2 ? words[2] : "");
        return 0;
    }
    fprintf(stderr, "abi: no such test\n");
    return 2;
}
