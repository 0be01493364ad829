// Asks a model one question, and prints the answer while it comes.
//
//   cargo build --release -p lfm2-wgpu-capi
//   cc -std=c99 examples/c/chat.c -Icapi/include -Ltarget/release -llfm2 -Wl,-rpath,target/release -o chat
//   ./chat "What is lfm2-wgpu?"                                     # the built-in model
//   ./chat "Why is the sky blue?" LFM2.5-8B-A1B-Q4_0.gguf
//
// The library takes and returns JSON. An app would use its own JSON library in place of `quote` and `print_content`.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lfm2.h"

// Writes `text` as a string of JSON, and returns the end.
static char *quote(char *to, const char *text) {
    *to++ = '"';
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c < 0x20) {
            to += sprintf(to, "\\u%04x", c);
        } else {
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    *to = '\0';
    return to;
}

// Prints the text of a delta.
static void print_content(const char *json) {
    static const char names[] = "ntrbf", values[] = "\n\t\r\b\f";
    const char *at = strstr(json, "\"content\":\"");
    if (!at) return;
    for (at += strlen("\"content\":\""); *at && *at != '"'; at++) {
        if (*at != '\\') {
            putchar(*at);
        } else if (*++at == 'u') {
            // Only control characters are written so.
            char code[5] = {0};
            memcpy(code, at + 1, 4);
            putchar((int)strtol(code, NULL, 16));
            at += 4;
        } else {
            const char *known = strchr(names, *at);
            putchar(known ? values[known - names] : *at);
        }
    }
    fflush(stdout);
}

static int failed(lfm2_error *error) {
    fprintf(stderr, "chat: %s\n", lfm2_error_message(error));
    lfm2_error_free(error);
    return EXIT_FAILURE;
}

int main(int count, char **words) {
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: chat QUESTION [MODEL]\n");
        return 2;
    }
    const char *question = words[1], *model = count == 3 ? words[2] : NULL;
    // A character becomes at most 6.
    char *options = malloc(6 * (model ? strlen(model) : 0) + 64);
    char *request = malloc(6 * strlen(question) + 256);
    if (!options || !request) return EXIT_FAILURE;
    strcpy(options, "{");
    if (model) quote(options + sprintf(options, "{\"model\": "), model);
    strcat(options, "}");
    char *end = request + sprintf(request, "{\"stream\": true, \"temperature\": 0, \"messages\": "
                                           "[{\"role\": \"user\", \"content\": ");
    strcpy(quote(end, question), "}]}");

    lfm2_error *error = NULL;
    lfm2_engine *engine = NULL;
    lfm2_generation *answer = NULL;
    lfm2_status status = lfm2_engine_new(LFM2_ABI_VERSION, options, strlen(options), NULL, NULL,
                                         &engine, &error);
    if (status == LFM2_OK) {
        status = lfm2_chat(engine, request, strlen(request), NULL, NULL, &answer, &error);
    }
    while (status == LFM2_OK) {
        char *json = NULL;
        status = lfm2_next(answer, -1, &json, NULL, &error);
        if (status == LFM2_OK) print_content(json);
        lfm2_string_free(json);
    }
    putchar('\n');
    int code = status == LFM2_DONE ? EXIT_SUCCESS : failed(error);
    lfm2_generation_free(answer);
    lfm2_engine_free(engine);
    free(options);
    free(request);
    return code;
}
