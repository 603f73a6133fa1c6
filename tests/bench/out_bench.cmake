# out_bench.py compares bsmtp-out with this program and with procmail.
add_executable(out_bench_peer EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/out_bench_peer.cc)
target_link_libraries(out_bench_peer PRIVATE bsmtp_flags)
target_link_options(out_bench_peer PRIVATE -static-libstdc++ -static-libgcc)
set_target_properties(out_bench_peer PROPERTIES
                      RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/test-tools)
add_dependencies(benchmarks out_bench_peer)
