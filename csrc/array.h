// Array: a borrowed pointer with shape and dtype, and the checks that every binding row is made of.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <type_traits>

namespace minidl {

enum class DType : uint8_t { float32, float64, int64, uint8, boolean, other };

inline const char* dtype_name(DType dtype) {
  constexpr const char* names[] = {"float32", "float64", "int64", "uint8", "bool", "another dtype"};
  return names[(int)dtype];
}

template <typename T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) return DType::float32;
  if constexpr (std::is_same_v<T, double>) return DType::float64;
  if constexpr (std::is_same_v<T, int64_t>) return DType::int64;
  if constexpr (std::is_same_v<T, uint8_t>) return DType::uint8;
}

// Thrown for a wrong dtype; becomes Python's TypeError (std::invalid_argument becomes ValueError).
struct DTypeError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Thrown where a number must be finite and is not; becomes Python's FloatingPointError.
struct NotFiniteError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// As Python writes it: (), (3,), (3, 4).
inline std::string shape_as_text(const int64_t* shape, int dims) {
  std::string text = "(";
  for (int i = 0; i < dims; ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + (dims == 1 ? ",)" : ")");
}

struct Array {
  void* data = nullptr;  // null: None was passed
  const int64_t* shape = nullptr;
  const int64_t* strides_bytes = nullptr;
  int dims = 0;
  int itemsize = 0;
  DType dtype = DType::other;
  bool is_contiguous = true;
  bool is_writeable = true;
  bool is_given = false;
  void* owner = nullptr;              // the Python object
  std::shared_ptr<const void> keeps;  // shape and strides_bytes, where the Python object has none to point to
  // For messages: the kernel, the names of its arguments as one text, and which of them this is.
  const char* kernel = "";
  const char* argument_names = "";
  int position = 0;

  int64_t size() const {
    int64_t product = 1;
    for (int i = 0; i < dims; ++i) product *= shape[i];
    return product;
  }
  int64_t operator[](int axis) const { return shape[axis < 0 ? dims + axis : axis]; }

  std::string name() const {
    std::istringstream names(argument_names);
    std::string name;
    for (int i = 0; i <= position; ++i) std::getline(names >> std::ws, name, ',');
    return name;
  }
  std::string shape_text() const { return shape_as_text(shape, dims); }
  [[noreturn]] void fail(const std::string& wanted) const {
    throw std::invalid_argument(std::string(kernel) + "(): " + name() + " must " + wanted + ", got shape " +
                                shape_text());
  }

  void require_contiguous() const {
    if (!is_contiguous)
      throw std::invalid_argument(std::string(kernel) + "(): " + name() +
                                  " must be C-contiguous; copy it first (numpy.ascontiguousarray)");
  }

  // The data as a kernel's pointer; checks dtype and layout. Elements are written through T* only.
  template <typename T>
  T* pointer(bool needs_contiguous) const {
    using Element = std::remove_const_t<T>;
    if (!is_given) return nullptr;
    bool is_dtype = dtype == dtype_of<Element>() || (dtype == DType::boolean && std::is_same_v<Element, uint8_t>);
    if (!is_dtype)
      throw DTypeError(std::string(kernel) + "(): " + name() + " must be " + dtype_name(dtype_of<Element>()) +
                       ", got " + dtype_name(dtype));
    if (needs_contiguous) require_contiguous();
    if (!std::is_const_v<T> && !is_writeable)
      throw std::invalid_argument(std::string(kernel) + "(): " + name() + " is written to, but is read-only");
    return static_cast<T*>(data);
  }
};

// An operand that the kernel reads through element strides: any layout will do.
struct AnyLayout {
  const Array& array;
};

template <typename... Arrays>
void name_arrays(const char* kernel, const char* names, Arrays&... arrays) {
  int position = 0;
  ((arrays.kernel = kernel, arrays.argument_names = names, arrays.position = position++), ...);
}

inline void require_given(const Array& a) {
  if (!a.is_given) throw DTypeError(std::string(a.kernel) + "(): " + a.name() + " must be an array, got None");
}

inline void require_dims(const Array& a, int dims) {
  require_given(a);
  if (a.dims != dims) a.fail("have " + std::to_string(dims) + " dimension" + (dims == 1 ? "" : "s"));
}

// Arrays passed as None are left alone; whether they may be None is the row's business.
inline void require_shape(const Array& a, std::initializer_list<int64_t> shape) {
  if (!a.is_given) return;
  bool same = a.dims == (int)shape.size();
  int axis = 0;
  for (int64_t extent : shape) same = same && a.shape[axis++] == extent;
  if (same) return;
  a.fail("have shape " + shape_as_text(shape.begin(), (int)shape.size()));
}

inline void require_same_shape(const Array& like, const Array& a) {
  require_given(like);
  require_given(a);
  bool same = like.dims == a.dims;
  for (int i = 0; same && i < a.dims; ++i) same = like.shape[i] == a.shape[i];
  if (!same) a.fail("have shape " + like.shape_text() + " like " + like.name());
}

inline void require_size(const Array& a, int64_t size) {
  require_given(a);
  if (a.size() != size) a.fail("have " + std::to_string(size) + (size == 1 ? " element" : " elements"));
}

}  // namespace minidl
