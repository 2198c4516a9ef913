// Stands in for libpcaudio.so.0, which espeak-ng loads for loudspeakers and which would pull in
// sound servers. espeak-ng writes to its standard output here and never opens a device, so every
// function says that there is none.

extern "C" {
void* create_audio_device_object(const char*, const char*, const char*) {
  return nullptr;
}
int audio_object_open(void*, int, unsigned, unsigned char) {
  return -1;
}
void audio_object_close(void*) {}
void audio_object_destroy(void*) {}
int audio_object_write(void*, const void*, unsigned long) {
  return -1;
}
int audio_object_drain(void*) {
  return -1;
}
int audio_object_flush(void*) {
  return -1;
}
const char* audio_object_strerror(void*, int) {
  return "no audio device";
}
}
