"""The paths that `/openapi.json` of each version lists, with their methods."""

from __future__ import annotations


def _paths(**by_methods: str) -> dict[str, tuple[str, ...]]:
    return {
        path: tuple(methods.split("_"))
        for methods, paths in by_methods.items()
        for path in paths.split()
    }


_ALWAYS = _paths(
    get="""
        /get_model_info /get_server_info /health /health_generate /ping /v1/models
        /v1/models/{model}
    """,
    get_post="""
        /close_session /configure_logging /dump_expert_distribution_record /flush_cache
        /get_weights_by_name /open_session /release_memory_occupation /resume_memory_occupation
        /slow_down /start_expert_distribution_record /start_profile
        /stop_expert_distribution_record /stop_profile
    """,
    post="""
        /abort_request /continue_generation /init_weights_update_group /invocations
        /load_lora_adapter /parse_function_call /pause_generation /separate_reasoning
        /unload_lora_adapter /update_weights_from_disk /update_weights_from_distributed
        /update_weights_from_tensor /v1/chat/completions /v1/completions /v1/embeddings
        /v1/score /vertex_generate
    """,
    post_put="""
        /classify /encode /generate /set_internal_state /v1/rerank
    """,
)
_ONLY_0_4_9 = _paths(
    get="""
        /get_load
    """,
    post="""
        /generate_from_file
    """,
)
_SINCE_0_5_22 = _paths(
    delete_get_put="""
        /hicache/storage-backend
    """,
    get="""
        /api/tags /get_remote_instance_transfer_engine_info /is_scaling_elastic_ep
        /list_external_corpora /model_info /ready /remote_instance_transfer_engine_info
        /server_info /v1/loads /v1/responses/{response_id}
    """,
    get_head="""
        /
    """,
    get_post="""
        /freeze_gc /set_trace_level /weights_checker
    """,
    post="""
        /add_external_corpus /api/chat /api/generate /api/show /begin_weight_update
        /destroy_weights_update_group /end_weight_update /hicache/storage-backend/clear
        /init_weights_send_group_for_remote_instance /load_lora_adapter_from_tensors
        /pd_role_switch /remove_external_corpus /scale_elastic_ep
        /send_weights_to_remote_instance /update_weight_version /update_weights_from_ipc
        /v1/audio/transcriptions /v1/classify /v1/decisions /v1/detokenize /v1/messages
        /v1/messages/count_tokens /v1/responses /v1/responses/{response_id}/cancel /v1/systemone
        /v1/tokenize
    """,
)

V0_4_9 = _ALWAYS | _ONLY_0_4_9
V0_5_22 = _ALWAYS | _SINCE_0_5_22
V0_5_23 = V0_5_22 | _paths(get="/get_hicache_l3_cache_layout")
