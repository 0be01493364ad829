// Compiles HLSL compute shaders with one of Microsoft's compilers, as wgpu 30 does in release builds. A Windows program,
// for Wine.
//
//   compile.exe fxc|dxc <list of files     one path in each line; prints the errors of each file that fails
//
// The compilers' libraries, d3dcompiler_47.dll and dxcompiler.dll, are loaded from the program's folder.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

// The one interface of dxcapi.h that is needed; its layout is that of the header.
typedef struct {
    const void *data;
    SIZE_T size;
    UINT encoding;
} DxcBuffer;
static const GUID CLSID_DxcCompiler = {
    0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID IID_IDxcCompiler3 = {
    0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID IID_IDxcResult = {
    0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};

#define METHOD(object, index, result, ...) \
    ((result(WINAPI *)(void *, ##__VA_ARGS__))(*(void ***)(object))[index])

typedef HRESULT(WINAPI *D3DCompileFn)(const void *, SIZE_T, const char *, const void *, void *,
                                      const char *, const char *, UINT, UINT, void **, void **);
typedef HRESULT(WINAPI *CreateInstanceFn)(const GUID *, const GUID *, void **);

static void release(void *object) {
    if (object) METHOD(object, 2, ULONG)(object);
}

static HRESULT by_dxc(void *compiler, const char *text, SIZE_T size, void **errors) {
    const wchar_t *arguments[] = {L"-E", L"main", L"-T", L"cs_6_6", L"-HV", L"2018",
                                  L"-no-warnings", L"-Ges", L"-enable-16bit-types"};
    DxcBuffer buffer = {text, size, CP_UTF8};
    void *result = NULL;
    HRESULT status = METHOD(compiler, 3, HRESULT, const DxcBuffer *, const wchar_t **, UINT, void *,
                            const GUID *, void **)(compiler, &buffer, arguments, 9, NULL,
                                                   &IID_IDxcResult, &result);
    if (status < 0) return status;
    METHOD(result, 5, HRESULT, void **)(result, errors);
    METHOD(result, 3, HRESULT, HRESULT *)(result, &status);
    release(result);
    // wgpu takes any message for a failure.
    const char *said = *errors ? METHOD(*errors, 3, const char *)(*errors) : NULL;
    if (status >= 0 && said && *said) return -1;
    return status;
}

int main(int argc, char **argv) {
    int dxc = argc == 2 && !strcmp(argv[1], "dxc");
    HMODULE library = LoadLibraryA(dxc ? "dxcompiler.dll" : "d3dcompiler_47.dll");
    if (!library) return fprintf(stderr, "no library of %s\n", argv[1]), 2;
    void *compiler = NULL;
    D3DCompileFn compile = NULL;
    if (dxc) {
        CreateInstanceFn create = (CreateInstanceFn)(void *)GetProcAddress(library, "DxcCreateInstance");
        if (create(&CLSID_DxcCompiler, &IID_IDxcCompiler3, &compiler) < 0) return 2;
    } else {
        compile = (D3DCompileFn)(void *)GetProcAddress(library, "D3DCompile");
    }
    int files = 0, failed = 0;
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\r\n")] = 0;
        FILE *file = fopen(path, "rb");
        if (!file) return fprintf(stderr, "no file %s\n", path), 2;
        fseek(file, 0, SEEK_END);
        SIZE_T size = ftell(file);
        rewind(file);
        char *text = malloc(size + 1);
        size = fread(text, 1, size, file);
        text[size] = 0;
        fclose(file);
        void *code = NULL, *errors = NULL;
        // 1 << 11 is D3DCOMPILE_ENABLE_STRICTNESS.
        HRESULT status = dxc ? by_dxc(compiler, text, size, &errors)
                             : compile(text, size, NULL, NULL, NULL, "main", "cs_5_1", 1 << 11, 0,
                                       &code, &errors);
        files++;
        if (status < 0) {
            failed++;
            const char *why = errors ? METHOD(errors, 3, const char *)(errors) : NULL;
            printf("%s: %.*s\n%.2000s\n", argv[1], (int)strcspn(text, "\n"), text, why ? why : "no reason");
        }
        release(code);
        release(errors);
        free(text);
    }
    printf("%s: %d files, %d failed\n", argv[1], files, failed);
    return failed > 0;
}
