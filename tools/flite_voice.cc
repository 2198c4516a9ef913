// Speaks lines with CMU Flite in a process of its own: reads "voice<TAB>text" lines, writes for
// each two 32-bit integers (samples, Hz; -1 samples when the voice is missing) and 16-bit samples.
// Debian's flite program needs every voice library at start; this one opens the voices that are
// asked for, so that only those need to be carried. C library only, so that it runs where nothing
// is installed. The Flite library and its voices are under CMU's permissive licence.

#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

/// cst_wave of flite 2.x (flite/cst_wave.h).
struct Wave {
  const char* type;
  int sample_rate;
  int num_samples;
  int num_channels;
  short* samples;
};

using InitFunction = int (*)();
using VoiceFunction = void* (*)(const char*);
using SpeakFunction = Wave* (*)(const char*, void*);
using DeleteFunction = void (*)(Wave*);

struct Voice {
  char name[32];
  void* handle;
};

template <class Function>
Function symbol(void* library, const char* name) {
  return library != nullptr ? reinterpret_cast<Function>(dlsym(library, name)) : nullptr;
}

/// Opens libflite_cmu_us_<name>.so.1 and registers the voice; null when it is missing.
void* open_voice(const char* name) {
  char text[128];
  snprintf(text, sizeof text, "libflite_cmu_us_%s.so.1", name);
  void* library = dlopen(text, RTLD_NOW);
  snprintf(text, sizeof text, "register_cmu_us_%s", name);
  const auto open = symbol<VoiceFunction>(library, text);
  return open != nullptr ? open(nullptr) : nullptr;
}

void* find_voice(const char* name) {
  static Voice voices[8];
  static int count = 0;
  for (int i = 0; i < count; ++i) {
    if (strcmp(voices[i].name, name) == 0) {
      return voices[i].handle;
    }
  }
  if (count == 8 || strlen(name) >= sizeof voices[0].name) {
    return nullptr;
  }
  snprintf(voices[count].name, sizeof voices[count].name, "%s", name);
  voices[count].handle = open_voice(name);
  return voices[count++].handle;
}

}  // namespace

int main() {
  void* flite = dlopen("libflite.so.1", RTLD_NOW | RTLD_GLOBAL);
  const auto init = symbol<InitFunction>(flite, "flite_init");
  const auto speak = symbol<SpeakFunction>(flite, "flite_text_to_wave");
  const auto remove = symbol<DeleteFunction>(flite, "delete_wave");
  if (init == nullptr || speak == nullptr || remove == nullptr) {
    fprintf(stderr, "libflite.so.1 is missing\n");
    return 3;
  }
  init();
  char* line = nullptr;
  size_t capacity = 0;
  ssize_t length = 0;
  while ((length = getline(&line, &capacity, stdin)) > 0) {
    line[strcspn(line, "\n")] = '\0';
    char* tab = strchr(line, '\t');
    Wave* wave = nullptr;
    if (tab != nullptr) {
      *tab = '\0';
      void* voice = find_voice(line);
      srand(1);  // Flite's excitation noise; a sentence then sounds the same whatever came before
      wave = voice != nullptr ? speak(tab + 1, voice) : nullptr;
    }
    const int32_t header[2] = {wave != nullptr ? wave->num_samples : -1,
                               wave != nullptr ? wave->sample_rate : 0};
    fwrite(header, sizeof header, 1, stdout);
    if (wave != nullptr) {
      fwrite(wave->samples, sizeof(short), static_cast<size_t>(wave->num_samples), stdout);
      remove(wave);
    }
    fflush(stdout);
  }
  free(line);
  return 0;
}
