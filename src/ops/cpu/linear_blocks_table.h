// The table of formats of one instruction set; kernels_of_format<F>() is defined before. Included
// only by linear_blocks_<isa>.cc, in an anonymous namespace.

template <class F>
const BlockKernels* table_of() {
  static constexpr BlockKernels kTable = kernels_of_format<F>();
  return &kTable;
}

inline const BlockKernels* find_blocks(io::BlockFormat format) {
  switch (format) {
    case io::BlockFormat::kQ4_0:
      return table_of<Q4_0>();
    case io::BlockFormat::kQ4_1:
      return table_of<Q4_1>();
    case io::BlockFormat::kQ5_0:
      return table_of<Q5_0>();
    case io::BlockFormat::kQ5_1:
      return table_of<Q5_1>();
    case io::BlockFormat::kQ8_0:
      return table_of<Q8_0>();
    case io::BlockFormat::kQ2_K:
      return table_of<Q2_K>();
    case io::BlockFormat::kQ3_K:
      return table_of<Q3_K>();
    case io::BlockFormat::kQ4_K:
      return table_of<Q4_K>();
    case io::BlockFormat::kQ5_K:
      return table_of<Q5_K>();
    case io::BlockFormat::kQ6_K:
      return table_of<Q6_K>();
    case io::BlockFormat::kIQ4_NL:
      return table_of<IQ4_NL>();
    case io::BlockFormat::kIQ4_XS:
      return table_of<IQ4_XS>();
    case io::BlockFormat::kMXFP4:
      return table_of<MXFP4>();
    case io::BlockFormat::kF32:
    case io::BlockFormat::kF16:
    case io::BlockFormat::kBF16:
      return nullptr;  // plain numbers
  }
  return nullptr;
}
