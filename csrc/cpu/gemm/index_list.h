// 0, 1, ..., count - 1 as template arguments, without the C++ library's std::index_sequence.
#pragma once

namespace MINIDL_TARGET {
namespace {

template <int... indices>
struct IndexList {};

template <int count, int... indices>
struct CountTo : CountTo<count - 1, count - 1, indices...> {};
template <int... indices>
struct CountTo<0, indices...> {
  using List = IndexList<indices...>;
};

}  // namespace
}  // namespace MINIDL_TARGET
