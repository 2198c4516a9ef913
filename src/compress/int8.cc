// The scale rule is compressed-tensors' own (half of 255, not 127). "format" stands inside the
// group as well, since readers otherwise expect packed integers for weight-only int8.
#include "compress/int8.h"

#include "core/error.h"
#include "nn/conv.h"

#include <ATen/ATen.h>

#include <limits>

namespace tessera::compress {
namespace {

constexpr double kSame = 2.5e-7;  // relative: four roundings of fp32

bool is_quantizable(const torch::nn::Module& module) {
  return dynamic_cast<const nn::Linear*>(&module) != nullptr ||
         dynamic_cast<const nn::Conv1d*>(&module) != nullptr ||
         dynamic_cast<const nn::Conv2d*>(&module) != nullptr;
}

void add_module(const torch::nn::Module& module,
                const std::string& prefix,
                at::ScalarType rest,
                nn::NamedTensors& out) {
  const bool quantizable = is_quantizable(module);
  const auto add = [&](const std::string& name, const Tensor& value) {
    const Tensor host = value.detach().to(at::kCPU);
    if (quantizable && name == "weight" && host.is_floating_point()) {
      const Int8Weight weight = quantize_channels(host);
      out[prefix + name] = weight.values;
      out[prefix + name + "_scale"] = weight.scale;
    } else if (quantizable && name == "weight_scale") {
      out[prefix + name] = host.to(at::kFloat).reshape({-1, 1}).contiguous();
    } else {
      out[prefix + name] =
          host.is_floating_point() ? host.to(rest).contiguous() : host.contiguous();
    }
  };
  for (const auto& item : module.named_parameters(/*recurse=*/false)) {
    add(item.key(), item.value());
  }
  for (const auto& item : module.named_buffers(/*recurse=*/false)) {
    add(item.key(), item.value());
  }
  for (const auto& item : module.named_children()) {
    add_module(*item.value(), prefix + item.key() + ".", rest, out);
  }
}

}  // namespace

Int8Weight quantize_channels(const Tensor& weight) {
  TESSERA_CHECK(weight.dim() >= 2 && weight.is_floating_point(), InvalidArgument,
                "int8: a weight must be floats of two or more axes, got {} axes", weight.dim());
  const Tensor rows = weight.to(at::kFloat).reshape({weight.size(0), -1});
  TESSERA_CHECK(rows.isfinite().all().item<bool>(), InvalidArgument,
                "int8: the weight has values that are not finite");
  // Readers compute the scale in fp32 from a range that includes zero.
  const Tensor most = rows.abs().amax(1, true);
  Tensor scale = most / 127.5;
  for (const double steps : {128.0, 127.0}) {
    const Tensor step = most / steps;
    const Tensor codes = (rows / step).round();
    const Tensor same = (codes <= 127) & ((codes * step - rows).abs() <= kSame * rows.abs());
    scale = at::where(same.all(1, true), step, scale);
  }
  const double epsilon = std::numeric_limits<float>::epsilon();
  scale = at::where(scale == 0, epsilon, scale).to(at::kFloat);
  const Tensor values = (rows / scale).round().clamp(-128, 127).to(at::kChar);
  return {values.view(weight.sizes()), scale};
}

nn::NamedTensors quantize_int8(const torch::nn::Module& model, at::ScalarType rest) {
  nn::NamedTensors out;
  add_module(model, "", rest, out);
  return out;
}

io::Json int8_config(const std::vector<std::string>& ignore, bool activations) {
  const io::Json weights = {{"num_bits", 8},         {"type", "int"},
                            {"symmetric", true},     {"strategy", "channel"},
                            {"group_size", nullptr}, {"block_structure", nullptr},
                            {"dynamic", false},      {"actorder", nullptr},
                            {"observer", "minmax"},  {"observer_kwargs", io::Json::object()}};
  io::Json inputs;
  if (activations) {
    inputs = weights;
    inputs["strategy"] = "token";
    inputs["dynamic"] = true;
    inputs["observer"] = nullptr;
  }
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"global_compression_ratio", nullptr},
          {"kv_cache_scheme", nullptr},
          {"ignore", ignore},
          {"config_groups",
           {{"group_0",
             {{"targets", {"Linear"}},
              {"format", "int-quantized"},
              {"weights", weights},
              {"input_activations", inputs},
              {"output_activations", nullptr}}}}}};
}

}  // namespace tessera::compress
