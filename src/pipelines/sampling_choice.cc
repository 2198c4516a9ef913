// One rule for the programs, the server and the library.
#include "pipelines/sampling_choice.h"

namespace tessera::pipelines {

void SamplingChoice::lay_over(nn::SamplingParams& sampling) const {
  const bool draws = temperature || top_k || top_p || min_p || typical_p;
  sampling.greedy = greedy.value_or(sampling.greedy && !draws);
  sampling.temperature = temperature.value_or(sampling.temperature);
  sampling.top_k = top_k.value_or(sampling.top_k);
  sampling.top_p = top_p.value_or(sampling.top_p);
  sampling.min_p = min_p.value_or(sampling.min_p);
  sampling.typical_p = typical_p.value_or(sampling.typical_p);
  sampling.repetition_penalty = repetition_penalty.value_or(sampling.repetition_penalty);
  if (sampling.temperature == 0) {
    sampling.greedy = true;
    sampling.temperature = 1;
  }
}

}  // namespace tessera::pipelines
