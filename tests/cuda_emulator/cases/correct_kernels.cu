// Kernels that are right: they must give the right numbers in every order, and no sanitizer may object.
#include <ptx.cuh>

#include <vector>

#include "case.h"
#include "reduce.cuh"

namespace MINIDL_TARGET {
namespace {

// out = sum of x; two stages in one launch.
template <int threads>
__global__ void sum_kernel(const float* x, float* partial, unsigned* arrivals, float* out, int size) {
  float sum = 0;
  for (int i = (int)(blockIdx.x * threads + threadIdx.x); i < size; i += (int)gridDim.x * threads) sum += x[i];
  sum = block_reduce<threads>(sum, Sum());
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
  if (!arrives_last(arrivals, gridDim.x)) return;
  sum = 0;
  for (unsigned i = threadIdx.x; i < gridDim.x; i += threads) sum += partial[i];
  sum = block_reduce<threads>(sum, Sum());
  if (threadIdx.x == 0) *out = sum;
}

void sum() {
  constexpr int size = 10000;
  float *x = numbers(size), *out = zeros(1), *partial = numbers(100);
  auto* arrivals = zeros<unsigned>(1);
  for (int blocks : {1, 3, 100}) {
    launch(stream, blocks, 64, sum_kernel<64>, x, partial, arrivals, out, size / 10);
    require_values(out, 1, [](int) { return 999 * 1000 / 2; });
    require(arrivals[0] == 0, "the counter is zero again");
  }
  launch(stream, 7, 32, sum_kernel<32>, x, partial, arrivals, out, 0);
  require_values(out, 1, [](int) { return 0; });
}

// out[j, i] = x[i, j], 16 x 16 at a time
__global__ void transpose_kernel(const float* x, float* out, int rows, int columns) {
  SHARED(float, tile, [16][17]);
  int row = (int)(blockIdx.y * 16 + threadIdx.y), column = (int)(blockIdx.x * 16 + threadIdx.x);
  if (row < rows && column < columns) tile[threadIdx.y][threadIdx.x] = x[row * columns + column];
  __syncthreads();
  int out_row = (int)(blockIdx.x * 16 + threadIdx.y), out_column = (int)(blockIdx.y * 16 + threadIdx.x);
  if (out_row < columns && out_column < rows) out[out_row * rows + out_column] = tile[threadIdx.x][threadIdx.y];
}

void transpose() {
  constexpr int rows = 35, columns = 17;
  float* out = zeros(rows * columns);
  launch(stream, dim3(2, 3), dim3(16, 16), transpose_kernel, numbers(rows * columns), out, rows, columns);
  require_values(out, rows * columns, [](int i) { return i % rows * columns + i / rows; });
}

__global__ void shuffles_kernel(const float* x, float* out) {
  int lane = (int)threadIdx.x % 32, i = (int)threadIdx.x;
  float prefix = x[i];
  for (unsigned distance = 1; distance < 8; distance *= 2) {
    float before = __shfl_up_sync(0xffffffffu, prefix, distance, 8);
    if (lane % 8 >= (int)distance) prefix += before;
  }
  out[i] = prefix;
  out[64 + i] = __shfl_down_sync(0xffffffffu, x[i], 1);
  out[128 + i] = __shfl_sync(0xffffffffu, x[i], 3, 8);
  out[192 + i] = (float)__shfl_xor_sync(0xffffffffu, (double)x[i], 16);
  // Each half of a warp by itself, with as many rounds as it likes.
  unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  float rotated = x[i];
  for (int round = 0; round < (lane < 16 ? 3 : 5); ++round)
    rotated = __shfl_sync(half, rotated, (lane & 16) + (lane + 1) % 16);
  out[256 + i] = rotated;
  out[320 + i] = (float)__popc(__ballot_sync(half, lane % 3 == 0));
  out[384 + i] = (float)(__any_sync(half, lane == 20) + 2 * __all_sync(half, lane < 16));
  out[448 + i] = (float)__reduce_add_sync(half, lane) + (float)__reduce_max_sync(half, (unsigned)lane) / 64;
}

void shuffles() {
  float *x = numbers(64), *out = zeros(512);
  launch(stream, 1, 64, shuffles_kernel, x, out);
  require_values(out, 64, [](int i) { return (i % 8 + 1) * (i / 8 * 8) + i % 8 * (i % 8 + 1) / 2; });
  require_values(out + 64, 64, [](int i) { return i % 32 == 31 ? i : i + 1; });
  require_values(out + 128, 64, [](int i) { return i / 8 * 8 + 3; });
  require_values(out + 192, 64, [](int i) { return i ^ 16; });
  require_values(out + 256, 64, [](int i) { return i / 16 * 16 + (i + (i & 16 ? 5 : 3)) % 16; });
  require_values(out + 320, 64, [](int i) { return i & 16 ? 5 : 6; });
  require_values(out + 384, 64, [](int i) { return i & 16 ? 1 : 2; });
  require_values(out + 448, 64, [](int i) { return i & 16 ? 376 + 31 / 64.0 : 120 + 15 / 64.0; });
}

// A warp that the block fills only in part, and threads that leave when nobody needs them any more.
__global__ void partial_warp_kernel(float* x, int size) {
  float sum = x[threadIdx.x];
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  int count = __syncthreads_count(threadIdx.x < 10), all = __syncthreads_and(1), any = __syncthreads_or(0);
  if ((int)threadIdx.x >= size) return;
  x[threadIdx.x] = sum + (float)(1000 * count + 100 * all + 10 * any);
}

void partial_warp() {
  float* x = numbers(40);
  launch(stream, 1, 40, partial_warp_kernel, x, 24);
  require_values(x, 40, [](int i) { return i < 24 ? i / 8 * 64 + 28 + 10100 : i; });
}

__global__ void warp_exchange_kernel(float* x) {
  SHARED(float, copy, [2][32]);
  int warp = (int)threadIdx.x / 32, lane = (int)threadIdx.x % 32;
  for (int round = 0; round < 3; ++round) {
    copy[warp][lane] = x[threadIdx.x];
    __syncwarp();
    x[threadIdx.x] = copy[warp][31 - lane] + 1;
    __syncwarp();
  }
}

void warp_exchange() {
  float* x = numbers(64);
  launch(stream, 1, 64, warp_exchange_kernel, x);
  require_values(x, 64, [](int i) { return i / 32 * 32 + 31 - i % 32 + 3; });
}

__global__ void histogram_kernel(const float* x, unsigned* counts, int size) {
  SHARED(unsigned, of_block, [10]);
  if (threadIdx.x < 10) of_block[threadIdx.x] = 0;
  __syncthreads();
  for (int i = (int)(blockIdx.x * blockDim.x + threadIdx.x); i < size; i += (int)(gridDim.x * blockDim.x))
    atomicAdd(&of_block[(int)x[i] % 10], 1u);
  __syncthreads();
  if (threadIdx.x < 10) atomicAdd(&counts[threadIdx.x], of_block[threadIdx.x]);
}

void histogram() {
  auto* counts = zeros<unsigned>(10);
  launch(stream, 3, 64, histogram_kernel, numbers(1000), counts, 1000);
  require_values(counts, 10, [](int) { return 100; });
}

// out = 2 x, through two stages of shared memory that are filled while the other is read
__global__ void pipeline_kernel(const float* x, float* out, int stages) {
  DYNAMIC_SHARED(float, buffer);
  auto start = [&](int stage) {
    copy_async<16>(buffer + stage % 2 * 128 + 4 * threadIdx.x, x + stage * 128 + 4 * threadIdx.x, stage < stages);
    close_copy_group();
  };
  start(0);
  for (int stage = 0; stage < stages; ++stage) {
    start(stage + 1);
    wait_for_copies<1>();
    __syncthreads();
    for (unsigned i = threadIdx.x; i < 128; i += 32) out[stage * 128 + i] = 2 * buffer[stage % 2 * 128 + (i + 7) % 128];
    __syncthreads();
  }
  wait_for_copies<0>();
}

void pipeline() {
  float* out = zeros(5 * 128);
  launch_with_shared(stream, 1, 32, 256 * sizeof(float), pipeline_kernel, numbers(5 * 128), out, 5);
  require_values(out, 5 * 128, [](int i) { return 2 * (i / 128 * 128 + (i + 7) % 128); });
}

// out (16 x 8) = a (16 x steps) b (steps x 8), small whole numbers: exact in every precision
__global__ void tensor_core_kernel(const float* a, const float* b, float* out) {
  int group = (int)threadIdx.x / 4, place = (int)threadIdx.x % 4;
  float sum[4] = {};
  uint32_t of_a[4], of_b[2];
  for (int i = 0; i < 4; ++i) of_a[i] = round_to_tf32(a[(group + i % 2 * 8) * 8 + place + i / 2 * 4]);
  for (int i = 0; i < 2; ++i) of_b[i] = round_to_tf32(b[(place + i * 4) * 8 + group]);
  multiply_add_tf32(sum, of_a, of_b);
  auto pair_of_a = [&](int row, int step) { return round_to_bfloat16_pair(a[row * 8 + step], a[row * 8 + step + 1]); };
  for (int i = 0; i < 4; ++i) of_a[i] = i < 2 ? pair_of_a(group + i % 2 * 8, 2 * place) : 0;  // steps 8 .. 15 are zero
  of_b[0] = round_to_bfloat16_pair(b[2 * place * 8 + group], b[(2 * place + 1) * 8 + group]);
  of_b[1] = 0;
  multiply_add_bfloat16(sum, of_a, of_b);
  for (int i = 0; i < 4; ++i) out[(group + i / 2 * 8) * 8 + 2 * place + i % 2] = sum[i];
}

void tensor_core() {
  float *a = numbers(128), *b = numbers(64), *out = zeros(128);
  for (int i = 0; i < 128; ++i) a[i] = (float)(i % 11);
  for (int i = 0; i < 64; ++i) b[i] = (float)(i % 7 - 3);
  launch(stream, 1, 32, tensor_core_kernel, a, b, out);
  require_values(out, 128, [=](int i) {
    float sum = 0;
    for (int step = 0; step < 8; ++step) sum += 2 * a[i / 8 * 8 + step] * b[step * 8 + i % 8];
    return sum;
  });
}

// Two arrays of one name in two instances, each with room of its own: no barrier is needed between the two calls.
template <int distance>
__device__ float rotated(float value) {
  SHARED(float, copy, [32]);
  copy[threadIdx.x] = value;
  __syncthreads();
  return copy[(threadIdx.x + distance) % 32];
}

__global__ void instances_kernel(float* x) {
  float a = rotated<1>(x[threadIdx.x]), b = rotated<2>(x[threadIdx.x]);
  SHARED(float, copy, [32]);
  copy[threadIdx.x] = a + b;
  __syncthreads();
  x[threadIdx.x] = copy[31 - threadIdx.x];
}

void instances() {
  float* x = numbers(32);
  launch(stream, 1, 32, instances_kernel, x);
  require_values(x, 32, [](int i) { return (32 - i) % 32 + (33 - i) % 32; });
}

__global__ void indices_kernel(unsigned* out) {
  unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
  out[block * 30 + thread] = block * 30 + thread;
}

void indices() {
  auto* out = zeros<unsigned>(24 * 30);
  launch(stream, dim3(2, 3, 4), dim3(5, 2, 3), indices_kernel, out);
  require_values(out, 24 * 30, [](int i) { return i; });
}

__global__ void add_kernel(float* x, const float* y, int size) {
  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size) x[i] += y[i];
}

// A recorded graph runs when it is launched, with what memory holds then.
void graph() {
  float *x = zeros(100), *y = zeros(100);
  Stream recording = stream;
  cudaGraph_t recorded;
  cudaGraphExec_t exec;
  size_t nodes;
  require_cuda(cudaStreamCreate(&recording.handle));
  require_cuda(cudaStreamBeginCapture(recording.handle, cudaStreamCaptureModeThreadLocal));
  clear(recording, x, 100 * sizeof(float));
  launch(recording, 2, 64, add_kernel, x, y, 100);
  launch(recording, 2, 64, add_kernel, x, y, 100);
  require_cuda(cudaStreamEndCapture(recording.handle, &recorded));
  require_cuda(cudaGraphGetNodes(recorded, nullptr, &nodes));
  require(nodes == 3, "a fill and two launches are three nodes");
  require_values(x, 100, [](int) { return 0; });
  require_cuda(cudaGraphInstantiate(&exec, recorded));
  require_cuda(cudaGraphDestroy(recorded));
  for (int replay = 1; replay <= 3; ++replay) {
    for (int i = 0; i < 100; ++i) y[i] = (float)(i * replay);
    require_cuda(cudaGraphLaunch(exec, recording.handle));
    require_values(x, 100, [=](int i) { return 2 * i * replay; });
  }
  require_cuda(cudaGraphExecDestroy(exec));
  require_cuda(cudaStreamDestroy(recording.handle));
}

__global__ void scale_kernel(float* x, float factor, int size) {
  int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < size) x[i] *= factor;
}

// Two branches that begin and end together: neither waits for the other, both for what they follow.
void branches() {
  float *x = numbers(100), *y = zeros(100);
  Stream recording = stream;
  cudaStreamCaptureStatus status;
  cudaGraph_t recorded;
  cudaGraphExec_t exec;
  const cudaGraphNode_t* tail;
  size_t count;
  auto last = [&] {
    require_cuda(cudaStreamGetCaptureInfo(recording.handle, &status, nullptr, nullptr, &tail, nullptr, &count));
    require(status == cudaStreamCaptureStatusActive && count == 1, "one node ends the recording so far");
    return *tail;
  };
  auto follow = [&](std::initializer_list<cudaGraphNode_t> nodes) {
    std::vector<cudaGraphNode_t> given(nodes);
    require_cuda(cudaStreamUpdateCaptureDependencies(recording.handle, given.data(), nullptr, given.size(),
                                                     cudaStreamSetCaptureDependencies));
  };
  require_cuda(cudaStreamCreate(&recording.handle));
  require_cuda(cudaStreamBeginCapture(recording.handle, cudaStreamCaptureModeThreadLocal));
  launch(recording, 2, 64, scale_kernel, x, 2.0f, 100);
  cudaGraphNode_t first = last();
  launch(recording, 2, 64, scale_kernel, x, 3.0f, 100);
  cudaGraphNode_t left = last();
  follow({first});
  launch(recording, 2, 64, add_kernel, y, y, 100);
  cudaGraphNode_t right = last();
  follow({left});
  require(cudaStreamEndCapture(recording.handle, &recorded) == cudaErrorStreamCaptureUnjoined,
          "a branch that the end does not follow is refused");
  require_cuda(cudaStreamBeginCapture(recording.handle, cudaStreamCaptureModeThreadLocal));
  require(cudaStreamUpdateCaptureDependencies(recording.handle, &right, nullptr, 1) == cudaErrorInvalidValue,
          "nodes of another recording are refused");
  launch(recording, 2, 64, scale_kernel, x, 2.0f, 100);
  first = last();
  launch(recording, 2, 64, scale_kernel, x, 3.0f, 100);
  left = last();
  follow({first});
  launch(recording, 2, 64, add_kernel, y, y, 100);
  right = last();
  follow({left, right});
  launch(recording, 2, 64, add_kernel, y, x, 100);
  require_cuda(cudaStreamEndCapture(recording.handle, &recorded));
  require_cuda(cudaGraphInstantiate(&exec, recorded));
  require_cuda(cudaGraphDestroy(recorded));
  require_cuda(cudaGraphLaunch(exec, recording.handle));
  require_values(x, 100, [](int i) { return 6 * i; });
  require_values(y, 100, [](int i) { return 6 * i; });
  require_cuda(cudaGraphExecDestroy(exec));
  require_cuda(cudaStreamDestroy(recording.handle));
}

__global__ void arithmetic_kernel(double* out) {
  out[0] = (double)__umulhi(0xffffffffu, 0xfffffffeu);
  out[1] = (double)(__umul64hi(1ull << 63, 6) + __brev(1u) / 0x80000000u + __clz(1) + __ffs(8) + __popc(0xf0u));
  out[2] = (double)__byte_perm(0x33221100u, 0x77665544u, 0x7531u);
  out[3] = max(nanf(""), 2.f) + min(3.f, nanf("")) + max(-1, 2) + min(5u, 3u);
  out[4] = rsqrtf(4.f) + normcdf(0.0) + sinpi(1.0) + cospi(0.5) + sinpi(0.5);
  out[5] = (double)(__fmul_rn(1.f + 0x1p-12f, 1.f + 0x1p-12f) + -1.f);
  out[6] = (double)__float_as_uint(1.f) + (double)__longlong_as_double(__double_as_longlong(0.5));
  out[7] = erfcx(30.0) * 30 * sqrt(M_PI) * (1 + 1 / 1800.0);
}

void arithmetic() {
  double* out = zeros<double>(8);
  launch(stream, 1, 1, arithmetic_kernel, out);
  double expected[] = {0xfffffffd, 3 + 1 + 31 + 4 + 4, 0x77553311, 2 + 3 + 2 + 3, 0.5 + 0.5 + 0 + 0 + 1,
                       0x1p-11,    0x3f800000 + 0.5};
  require_values(out, 7, [&](int i) { return expected[i]; });
  require(std::fabs(out[7] - 1) < 1e-5, "erfcx");
}

// As errors that a program survives: the next launch is fine.
void refused_launch() {
  float *x = zeros(4), *y = numbers(4);
  try {
    launch(stream, 1, 2000, add_kernel, x, y, 4);
    require(false, "2000 threads a block are refused");
  } catch (const LaunchError& error) {
    require(error.code == cudaErrorInvalidConfiguration, "the configuration is refused");
  }
  launch(stream, 0, 64, add_kernel, x, y, 4);
  launch(stream, 1, 64, add_kernel, x, y, 4);
  require_values(x, 4, [](int i) { return i; });
}

const Cases cases = {
    {"sum", sum},
    {"transpose", transpose},
    {"shuffles", shuffles},
    {"partial_warp", partial_warp},
    {"warp_exchange", warp_exchange},
    {"histogram", histogram},
    {"pipeline", pipeline},
    {"tensor_core", tensor_core},
    {"instances", instances},
    {"indices", indices},
    {"graph", graph},
    {"branches", branches},
    {"arithmetic", arithmetic},
    {"refused_launch", refused_launch},
    {"all",
     [] {
       for (const auto& test : {sum, transpose, shuffles, partial_warp, warp_exchange, histogram, pipeline, tensor_core,
                                instances, indices, graph, arithmetic, refused_launch})
         test();
     }},
};

}  // namespace
}  // namespace MINIDL_TARGET

int main(int argument_count, char** arguments) {
  return MINIDL_TARGET::run_case(MINIDL_TARGET::cases, argument_count, arguments);
}
