"""The pitfalls, what the client does about each, and the tests that fail without it.

`python tests/integration/pitfalls/mutations.py` takes one measure after the other out of a copy of the package and runs
its tests, which must fail then; `--pitfall 5 13` does so for some of them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """Something that the client does, and how to take it out.

    Attributes:
        does: What it does, in words.
        file: Where, below `reward_client/`.
        present: The code that does it, which occurs once in the file, however it is spaced and broken
            into lines.
        absent: What stands there without the measure: code that is wrong and not broken.
        tests: Those that fail without it, each of them, below `tests/`.
    """

    does: str
    file: str
    present: str
    absent: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pitfall:
    """Something that gives a wrong reward, or none, where nobody looks.

    Attributes:
        wrong: What goes wrong.
        mutations: What the client does about it.
        limit: What it does not do, if there is something to say.
    """

    wrong: str
    mutations: tuple[Mutation, ...]
    limit: str = ""


VERSIONS = "_protocols/vllm/versions.py"
EVIDENCE = "_server/activation_check.py"
DISCOVERY = "_server/discovery.py"
DATES = "_server/written_dates.py"
NEGOTIATION = "_server/negotiation.py"
IDENTITY = "_server/identity.py"
REFUSALS = "_transport/hidden_refusals.py"
PROXIES = "_transport/proxies.py"
PROVING = "_server/proof.py"
RULES = "_tokenization/prompt_rules.py"
CALLER = "_transport/http_transport.py"
STATUSES = "_transport/status_errors.py"

RAW_VALUES = "integration/pitfalls/test_raw_values.py::"
REQUESTS = "integration/pitfalls/test_requests.py::"
PROMPTS = "integration/pitfalls/test_prompts.py::"
REPLIES = "integration/pitfalls/test_replies.py::"
CONNECTIONS = "integration/pitfalls/test_connections.py::"
REPLICAS = "integration/pitfalls/test_replicas.py::"
FLEET = "replicas/test_pool.py::"
FILES_BY_REPLICAS = "files/test_replicas.py::"
KILLED = "integration/faults/test_replicas.py::"
FAULTS = "transport/test_network_errors.py::"
OBJECTIVES = "integration/recorded/test_objectives.py::"
PATTERNS = "methods/test_patterns.py::"
ROWS = "files/test_rows.py::"
RETRY = "files/test_retry.py::"
UNTRUSTED = "transport/test_untrusted_text.py::"
LINKS = "export/test_links.py::"
CLOSED = "client/test_closed_options.py::"
STEPS = "integration/recorded/test_steps.py::"
VALUES = "integration/pitfalls/test_values.py::"
MODELS = "integration/pitfalls/test_models.py::"
GATEWAYS = "integration/pitfalls/test_gateways.py::"
COMMANDS = "cli/test_score.py::"
TLS_AND_PROXIES = "integration/faults/test_tls_and_proxies.py::"
BOUNDS = "integration/faults/test_bounds.py::"
PATIENCE = "replicas/test_patience.py::"
NEIGHBOURS = "scoring/test_lost_neighbours.py::"
LOOPS = "client/test_event_loops.py::"
SHARING = "client/test_shared_core.py::"
CORE = "_client/core.py"
CATALOGUE = "recipes/test_catalogue.py::"
BINDING = "integration/pitfalls/test_binding.py::"
LEDGER = "_transport/ledger.py"
WATCH = "_client/watch.py"
BINDER = "_transport/binding.py"
CROSS_CHECK = "_server/cross_check.py"
AGREEMENT = "_server/agreement.py"
MEMORY = "server/test_memory.py::"
INPUT = "integration/pitfalls/test_input.py::"
READABLE = "_protocols/messages.py"
SGLANG = "integration/pitfalls/test_sglang.py::"
SGLANG_VERSIONS = "_protocols/sglang/versions.py"
SHOWN_PARTS = "_tokenization/shown_parts.py"
CONTROL_TOKENS = "_tokenization/control_tokens.py"
INTEGRATED = "integrations/test_failures.py::"
POLICY_TEXT = "integrations/test_policy_text.py::"

PITFALLS: dict[int, Pitfall] = {
    1: Pitfall(
        "`/tokenize` opens another assistant turn after the answer, unless the request forbids it",
        (
            Mutation(
                "The client sends `add_generation_prompt` with each conversation.",
                "_protocols/vllm/tokenize.py",
                '        "add_generation_prompt": generation_prompt,\n',
                "",
                (REQUESTS + "test_1_no_generation_prompt",),
            ),
            Mutation(
                "It also sends `continue_final_message`, so that the server checks one against "
                "the other.",
                "_protocols/vllm/tokenize.py",
                '        "continue_final_message": continues,\n',
                "",
                (REQUESTS + "test_1_no_generation_prompt",),
            ),
            Mutation(
                "It opens a turn if the model's recipe says that the model was trained so.",
                DISCOVERY,
                "generation_prompt=output.opens_turn or (prompt is not None and prompt.generation_prompt),",
                "generation_prompt=False,",
                (REQUESTS + "test_1_unless_the_recipe_says_so",),
            ),
        ),
    ),
    2: Pitfall(
        "A sigmoid squashes the values of heads with one label (from 0.9.0 on), of "
        "`Qwen2ForRewardModel` (0.11.1 to 0.15) and of InternLM2 (from 0.10.1 on)",
        (
            Mutation(
                "The client sends `use_activation: false` to versions that know it.",
                VERSIONS,
                '_RAW = MappingProxyType({"use_activation": False})',
                "_RAW: Mapping[str, bool] = MappingProxyType({})",
                (RAW_VALUES + "test_2_no_sigmoid",),
            ),
            Mutation(
                "It sends `activation: false` to `/classify` of 0.10.1 to 0.11.0.",
                VERSIONS,
                'VllmRequest("classify", None, {"activation": False}, raw_by="request", sends="text")',
                'VllmRequest("classify", None, {}, raw_by="request", sends="text")',
                (RAW_VALUES + "test_2_no_sigmoid",),
            ),
            Mutation(
                "If all values lie between 0 and 1, it checks that the switch makes a difference.",
                DISCOVERY,
                "(transport, promised):\n        raw_by = None\n",
                '(transport, promised):\n        raw_by = "request"\n',
                ("server/test_discovery.py::test_a_switch_that_changes_nothing_proves_nothing",),
            ),
            Mutation(
                "It trusts no value to be raw if no request can ask for raw values.",
                VERSIONS,
                '_POOLING = VllmRequest("pooling")',
                '_POOLING = VllmRequest("pooling", raw_by="request")',
                (RAW_VALUES + "test_2_a_sigmoid_that_no_request_turns_off",),
            ),
        ),
    ),
    3: Pitfall(
        "vLLM 0.6.6 to 0.8.5 applies a softmax over the one label: every reward is 1.0",
        (
            Mutation(
                "If all probes are 1.0, the client raises `ActivationError` with the server flag "
                "that helps.",
                EVIDENCE,
                "        _refuse_constant_ones([row[0] for row in rows], raw_by, cure)",
                "        pass",
                (RAW_VALUES + "test_3_a_softmax_over_one_label",),
            ),
        ),
    ),
    4: Pitfall(
        "On 0.11.1 to 0.13, a second activation key turns the activation on",
        (
            Mutation(
                "The client sends exactly one key, from the version table.",
                VERSIONS,
                '_RAW = MappingProxyType({"use_activation": False})',
                '_RAW = MappingProxyType({"use_activation": False, "activation": False})',
                (RAW_VALUES + "test_4_only_one_activation_key_is_sent",),
            ),
        ),
    ),
    5: Pitfall(
        "Up to 0.10.0 (for `/pooling`, up to 0.11.0), no request can ask for raw values",
        (
            Mutation(
                "The client examines eight different token lists.",
                "_server/probes.py",
                "_COUNT = 8",
                "_COUNT = 1",
                ("server/test_discovery.py::test_the_probes_are_eight_and_differ_in_length",),
            ),
            Mutation(
                "If all values lie between 0 and 1 and nothing else decides, it raises "
                "`ActivationError`.",
                EVIDENCE,
                "    if declared is None:\n        return None\n",
                '    if declared is None:\n        return Activation("none", "probe")\n',
                (RAW_VALUES + "test_5_values_inside_of_0_to_1_may_be_squashed",),
            ),
            Mutation(
                'It rejects `server_activation="sigmoid"` if a value outside 0 to 1 came.',
                EVIDENCE,
                'if declared == "sigmoid":',
                'if declared == "never":',
                (RAW_VALUES + "test_5_a_value_outside_of_0_to_1_proves_that_they_are_raw",),
            ),
            Mutation(
                "A recipe's reference value decides which activation the server applies.",
                DISCOVERY,
                "if activation is None and isinstance(head, ScalarHead) and promised.recipe is not None:",
                "if activation is None and isinstance(head, LinearHead) and promised.recipe is not None:",
                (RAW_VALUES + "test_5_a_reference_value_tells_what_the_server_applies",),
            ),
            Mutation(
                "It does not invert a sigmoid so close to 0 or 1 that many rewards share the "
                "value.",
                "_base/activation.py",
                "if not 0 < value < 1 or self._doubt(value) > _TOLERANCE:",
                "if not 0 < value < 1:",
                (RAW_VALUES + "test_5_a_saturated_sigmoid_is_not_inverted",),
            ),
        ),
    ),
    6: Pitfall(
        "A version refuses keys that it does not know (up to 0.6.4; `normalize` from 0.26 on), or"
        " silently ignores them",
        (
            Mutation(
                "The client asks for raw hidden states with the key of the version.",
                VERSIONS,
                '_HIDDEN_BY_ACTIVATION = VllmRequest("embeddings", None, _RAW, raw_by="request")',
                '_HIDDEN_BY_ACTIVATION = VllmRequest("embeddings", None, _NORMALIZE, raw_by="request")',
                (REQUESTS + "test_6_exactly_the_keys_of_the_version",),
            ),
            Mutation(
                "It sends no switch to versions that know none.",
                VERSIONS,
                '_EMBEDDINGS = VllmRequest("embeddings")',
                '_EMBEDDINGS = VllmRequest("embeddings", switches=_RAW)',
                (
                    REQUESTS + "test_6_exactly_the_keys_of_the_version",
                    REQUESTS + "test_6_the_first_versions_refuse_any_other_key",
                ),
            ),
            Mutation(
                "It raises `InputError` for tools and template arguments that `/tokenize` would "
                "ignore.",
                READABLE,
                "if key not in arguments:",
                "if key not in wanted:",
                ("server/test_discovery.py::test_old_servers_would_ignore_tools",),
            ),
        ),
    ),
    7: Pitfall(
        "Without its `task`, `/pooling` answers rows for each token (0.13 to 0.18), hidden states"
        " (0.10) or an error",
        (
            Mutation(
                "The client names the task.",
                VERSIONS,
                '_CLASSIFY = VllmRequest("pooling", "classify", _RAW, raw_by="request")',
                '_CLASSIFY = VllmRequest("pooling", None, _RAW, raw_by="request")',
                (RAW_VALUES + "test_7_the_task_is_named",),
            ),
            Mutation(
                "It checks the shape of each response.",
                "_server/state.py",
                "        if not layout.fits(output, len(ids), len(steps)):",
                "        if not output.values:",
                (RAW_VALUES + "test_7_a_reply_of_another_shape",),
            ),
        ),
    ),
    8: Pitfall(
        "The vector of a hidden state comes back instead of a reward",
        (
            Mutation(
                "The client reads a scalar from exactly one value, never from the first of many.",
                "heads/scalar.py",
                "layout.width == 1:",
                "layout.width >= 1:",
                (
                    RAW_VALUES + "test_8_hidden_states_are_no_reward",
                    RAW_VALUES + "test_8_a_wide_vector",
                ),
            ),
            Mutation(
                "It raises `NotARewardError` with the command that serves the model.",
                "_protocols/pooled_output.py",
                "_MAX_LABELS = 64",
                "_MAX_LABELS = 100_000",
                (
                    RAW_VALUES + "test_8_hidden_states_are_no_reward",
                    RAW_VALUES + "test_8_a_wide_vector",
                ),
            ),
        ),
    ),
    9: Pitfall(
        "`/v1/embeddings` answers 500 for a model with a value for each token, except in base64 "
        "(0.6.6 to 0.9.0); 0.33 answers rows there, except in base64",
        (
            Mutation(
                "The client asks for base64.",
                "_protocols/vllm/scoring_request.py",
                '"/v1/embeddings", "embedding", "base64"',
                '"/v1/embeddings", "embedding", "float"',
                (RAW_VALUES + "test_9_base64_where_float_breaks",),
            ),
            Mutation(
                "It splits the flat numbers into rows by the number of tokens or steps.",
                "_protocols/pooled_output.py",
                "return [values[start : start + width] for start in range(0, len(values), width)]",
                "return [values]",
                (
                    RAW_VALUES + "test_9_base64_where_float_breaks",
                    RAW_VALUES + "test_9_rows_of_steps_in_base64",
                ),
            ),
            Mutation(
                "It treats the refusal of base64 by 0.33 like a route that is not served.",
                STATUSES,
                "r\"|body\\.encoding_format\\W+msg\\W+Input should be 'float'\"",
                'r"|body\\.encoding_format is wrong"',
                (
                    RAW_VALUES + "test_9_rows_where_base64_is_refused",
                    "transport/test_status_errors.py::test_statuses",
                ),
            ),
        ),
    ),
    10: Pitfall(
        "The prompt starts with two BOS tokens, or with none (Skywork V1)",
        (
            Mutation(
                "Each reward holds the number of BOS tokens.",
                RULES,
                "return ids.leading(self.bos_token_id)",
                "return int(self.bos_token_id in ids)",
                (PROMPTS + "test_10_a_doubled_bos_is_counted",),
            ),
            Mutation(
                "Formatted text is tokenized without a further BOS.",
                "_protocols/tokenizing.py",
                "tokenize_text(transport, served, prompt.text, add_special_tokens=False)",
                "tokenize_text(transport, served, prompt.text, add_special_tokens=True)",
                (PROMPTS + "test_10_formatted_text_gets_no_second_bos",),
            ),
            Mutation(
                "`bos=` demands exactly one, or none.",
                RULES,
                "        if count == int(bos):",
                "        if not bos or count >= 1:",
                (PROMPTS + "test_10_exactly_one_bos_is_demanded",),
            ),
            Mutation(
                "A recipe can demand it too.",
                DISCOVERY,
                "bos=options.bos if options.bos is not None or prompt is None else prompt.bos,",
                "bos=options.bos,",
                (PROMPTS + "test_10_exactly_one_bos_is_demanded",),
            ),
            Mutation(
                "The doctor reports the number.",
                "_doctor/prompt_checks.py",
                "    if count > 1:",
                "    if count > 2:",
                (PROMPTS + "test_10_the_doctor_reports_it",),
            ),
        ),
    ),
    11: Pitfall(
        "Truncation by the server keeps the wrong end from 0.16 on: the answer is cut off",
        (
            Mutation(
                "The client raises `PromptTooLongError` before it sends anything.",
                "_scoring/pooled.py",
                "    if isinstance(tokenized, Tokenized) and not tokenized.fits:\n",
                "    if tokenized is None:\n",
                (PROMPTS + "test_11_too_long_is_refused_before_it_is_sent",),
            ),
            Mutation(
                '`on_overlong="drop_turns"` drops turns on the client.',
                "_tokenization/tokenizer.py",
                'if whole.fits or self._on_overlong == "raise" or not isinstance',
                "if whole.fits or self._on_overlong or not isinstance",
                (PROMPTS + "test_11_the_oldest_turns_go_and_the_answer_stays",),
            ),
            Mutation(
                "The oldest turns go first.",
                "_tokenization/truncation.py",
                "messages=[*kept, *messages[start:]]",
                "messages=[*kept, *messages[: len(messages) - start]]",
                (PROMPTS + "test_11_the_oldest_turns_go_and_the_answer_stays",),
            ),
            Mutation(
                "The client never asks the server to truncate.",
                "_protocols/vllm/scoring_request.py",
                "            **self.switches,\n",
                '            **self.switches,\n            "truncate_prompt_tokens": -1,\n',
                (PROMPTS + "test_11_the_server_is_never_told_to_truncate",),
            ),
        ),
    ),
    12: Pitfall(
        "One bad input fails the whole request that contains it",
        (
            Mutation(
                "The error stands in the place of the bad input, and the other samples get their "
                "rewards.",
                "_client/streaming.py",
                "isinstance(outcome, TokenizerUnavailableError) or not isinstance(outcome, RewardClientError)",
                "isinstance(outcome, Exception)",
                (REPLIES + "test_12_bad_input_is_a_typed_error_and_spares_its_neighbours",),
            ),
            Mutation(
                "The client splits a refused request until it knows the culprit.",
                "_scoring/bisect.py",
                "        outcomes = await _bisect(transport, state, samples)\n",
                "        raise outcomes\n",
                ("scoring/test_batcher.py::test_culprits_among_others",),
            ),
            Mutation(
                "It does not split a request that failed for a reason that no sample causes.",
                "_scoring/bisect.py",
                "if len(samples) == 1 or await _refuses_probe(transport, state, outcomes):",
                "if len(samples) == 1:",
                (
                    "scoring/test_batcher.py::test_what_no_sample_causes_is_not_taken_apart",
                    NEIGHBOURS + "test_12_a_refused_key_costs_two_requests_a_pack",
                ),
            ),
            Mutation(
                "A gateway may refuse a sample in its own words: any error is a refusal that does not "
                "mean time or the whole server.",
                "_scoring/bisect.py",
                "        if not _may_be_of_a_sample(error):\n",
                "        if not isinstance(error, _REFUSALS):\n",
                (NEIGHBOURS + "test_12_one_refused_sample_fails_alone_in_any_words",),
            ),
        ),
    ),
    13: Pitfall(
        "The items of a response come in another order, or are missing, doubled or too many",
        (
            Mutation(
                "The client sorts by the index of an item and ignores its place.",
                "_protocols/response_checks.py",
                "items = as_list(fields.get(list_key)) or []",
                'items = [\n        {**(as_mapping(item) or {}), "index": place}\n        '
                "for place, item in enumerate((as_list(fields.get(list_key)) or [])[:count])\n"
                "    ]",
                (
                    REPLIES + "test_13_items_are_put_in_order_by_their_index",
                    "protocols/test_responses.py::test_items_are_sorted_by_index",
                    "protocols/test_responses.py::test_missing_doubled_and_extra_items",
                ),
            ),
            Mutation(
                "Each index must occur once, and the number of items must match the request.",
                "_protocols/response_checks.py",
                "if len(items) != count or by_index.keys() != set(range(count)):",
                "if not by_index.keys() >= set(range(count)):",
                ("protocols/test_responses.py::test_missing_doubled_and_extra_items",),
            ),
        ),
    ),
    14: Pitfall(
        "NaN, infinity or null comes instead of a number",
        (
            Mutation(
                "The client raises `NonFiniteRewardError`, and never returns 0.",
                "_protocols/response_checks.py",
                "    if _are_finite(output.values):",
                "    if output.values or _are_finite(output.values):",
                (
                    REPLIES + "test_14_what_is_no_number_is_an_error",
                    "protocols/test_responses.py::test_not_finite",
                    "protocols/test_responses.py::test_not_finite_in_base64",
                ),
            ),
        ),
    ),
    15: Pitfall(
        "The server scored other tokens than those sent: truncated, or from another request",
        (
            Mutation(
                "The client compares `usage.prompt_tokens` with the number of tokens sent.",
                "_protocols/response_checks.py",
                "if type(counted) not in (int, float) or counted not in tokens:",
                "if counted == -1:",
                (
                    REPLIES + "test_15_other_tokens_than_were_sent",
                    "protocols/test_responses.py::test_other_tokens_were_scored",
                ),
            ),
        ),
    ),
    16: Pitfall(
        "The rows of a process reward model do not match the steps of the answer",
        (
            Mutation(
                "The client rejects a step token in the question, or within a step.",
                RULES,
                "        self._check_places(messages, text)\n",
                "",
                (PROMPTS + "test_16_a_step_token_in_the_question",),
            ),
            Mutation(
                "It counts the step tokens after tokenizing.",
                RULES,
                "if expected is not None and count != expected:",
                "if expected is not None and count < 0:",
                (PROMPTS + "test_16_the_tokens_hold_another_number_of_steps",),
            ),
            Mutation(
                "It rejects a sample without a step.",
                RULES,
                "        if count == 0:\n            raise InputError(\n"
                '                f"Cannot score steps: the sample has no step token',
                "        if count < 0:\n            raise InputError(\n"
                '                f"Cannot score steps: the sample has no step token',
                (PROMPTS + "test_16_no_step",),
            ),
            Mutation(
                "From rows for all tokens, it takes the rows at the step tokens.",
                "heads/steps.py",
                "values = [rows.values[position] for position in rows.steps]",
                "values = list(rows.values[: len(rows.steps)])",
                (PROMPTS + "test_16_rows_of_every_token_are_taken_at_the_step_tokens",),
            ),
            Mutation(
                "It raises `ShapeError` if the server ends steps with another token.",
                "heads/steps.py",
                "        if layout.width == 0:\n",
                "        if layout.width < 0:\n",
                (PROMPTS + "test_16_a_server_with_another_step_token",),
            ),
            Mutation(
                "It reports where each step begins and ends.",
                "heads/steps.py",
                "                end=position + 1,\n",
                "                end=position,\n",
                (
                    PROMPTS + "test_16_each_row_belongs_to_the_step_token_at_its_place",
                    "integration/recorded/test_steps.py::test_the_steps_tile_the_tokens_up_to_the_last_step_token",
                ),
            ),
        ),
    ),
    17: Pitfall(
        "A sigmoid is applied twice: all values lie between 0.5 and 0.7311",
        (
            Mutation(
                "The doctor reports it.",
                "_doctor/server_checks.py",
                "_TWICE_SQUASHED = (0.5, 0.7311)",
                "_TWICE_SQUASHED = (0.5, 0.5)",
                (RAW_VALUES + "test_17_a_sigmoid_applied_twice",),
            ),
            Mutation(
                "The client compares the reward of a published sample.",
                "_server/recipe_checks.py",
                "if agrees(wider, found):",
                "if found:",
                (RAW_VALUES + "test_17_a_recipe_that_knows_better",),
            ),
            Mutation(
                "The doctor compares all published rewards.",
                "_doctor/reward_checks.py",
                "if agrees(known, found):",
                "if found:",
                (RAW_VALUES + "test_17_the_doctor_compares_every_published_value",),
            ),
        ),
        limit="The client itself compares only the shortest published sample of a recipe (and all "
        "values of a manifest, pitfall 27), and only where the server takes token IDs.",
    ),
    18: Pitfall(
        "Some models need more than a server provides: InternLM2 a final token, GRM-sftreg a head"
        " that vLLM silently drops, Beaver's cost models the opposite sign",
        (
            Mutation(
                "The client appends the tokens that the recipe names.",
                RULES,
                "if tail and finished[-len(tail) :] != tail:",
                "if not tail:",
                (PROMPTS + "test_18_the_token_that_carries_the_reward_is_appended",),
            ),
            Mutation(
                "The catalogue knows InternLM2's token.",
                "recipes/catalogue/internlm2-reward.toml",
                "append_tokens = [92527]",
                "append_tokens = []",
                ("recipes/test_catalogue.py::test_the_traps_that_recipes_are_for",),
            ),
            Mutation(
                "The client raises `RecipeError` for models that no stock server serves correctly.",
                DISCOVERY,
                "if refusal is not None:",
                'if refusal is not None and options.recipe != "auto":',
                (PROMPTS + "test_18_models_that_no_server_serves_rightly",),
            ),
        ),
    ),
    19: Pitfall(
        "The server closes an idle connection after 5 s, just when a request uses it again",
        (
            Mutation(
                "The client drops idle connections after 4 s.",
                "_transport/connections.py",
                "_KEEPALIVE_SECONDS = 4.0",
                "_KEEPALIVE_SECONDS = 60.0",
                (CONNECTIONS + "test_19_idle_connections_close_before_the_servers_timeout",),
            ),
            Mutation(
                "It repeats a call at once if its connection was reset before the response.",
                CALLER,
                "if not self._was_repeated and _is_of_connection(outcome):",
                "if self._was_repeated and _is_of_connection(outcome):",
                ("integration/faults/test_connection.py::test_stale_connection_costs_no_attempt",),
            ),
            Mutation(
                "It does so once for each call: a second reset costs an attempt.",
                CALLER,
                "            self._was_repeated = True\n",
                "",
                ("integration/faults/test_connection.py::test_every_reply_fails",),
            ),
            Mutation(
                "It distinguishes a reset from a refused connection by the cause.",
                "_transport/network_errors.py",
                "chain = list(_causes(error))",
                "chain = [error]",
                (FAULTS + "test_the_cause_counts_more_than_what_it_was_mapped_to",),
            ),
        ),
    ),
    20: Pitfall(
        "A repeated `X-Request-Id` fails (up to 0.13)",
        (
            Mutation(
                "Each attempt has its own ID.",
                CALLER,
                "request_id = new_request_id()",
                'request_id = f"rc-{id(self)}"',
                ("integration/faults/test_connection.py::test_every_reply_fails",),
            ),
        ),
    ),
    21: Pitfall(
        "Errors are flat, nested, a bare string, empty, or a proxy's page",
        (
            Mutation(
                "The client reads the bare string of a 401.",
                STATUSES,
                '    elif error and not (failed and isinstance(fields.get("message"), str)):\n',
                "    elif error and not isinstance(error, str):\n",
                ("transport/test_status_errors.py::test_json_bodies",),
            ),
            Mutation(
                "It reads the flat errors of versions up to 0.10.0.",
                STATUSES,
                'elif fields.get("object") != "error" and not failed:',
                "elif not failed:",
                ("transport/test_status_errors.py::test_json_bodies",),
            ),
            Mutation(
                "It reads any bytes.",
                STATUSES,
                'body.decode("utf-8", "replace")',
                'body.decode("utf-8")',
                ("transport/test_status_errors.py::test_any_bytes",),
            ),
        ),
    ),
    22: Pitfall(
        "The key guards only `/v1`: `/tokenize` and `/pooling` answer without it",
        (
            Mutation(
                "The client checks the key on `/v1/models`, before anything else.",
                "_server/identity.py",
                "    except (RouteNotFoundError, BadRequestError) as error:\n",
                "    except StatusError:\n"
                '        return Identity(await _version(transport), model or "", None, None, None, None)\n'
                "    except (RouteNotFoundError, BadRequestError) as error:\n",
                (
                    REQUESTS + "test_22_the_key_is_tested_where_the_server_looks_at_it",
                    "server/test_discovery.py::test_the_key_is_checked_first",
                ),
            ),
            Mutation(
                "It sends the key with every request.",
                CALLER,
                'headers = {**self._headers, "x-request-id": request_id}',
                'headers = {**(self._headers if "/v1" in request.path else {}), '
                '"x-request-id": request_id}',
                (
                    REQUESTS + "test_22_the_key_is_tested_where_the_server_looks_at_it",
                    "integration/faults/test_secrets.py::test_the_key_goes_with_every_call",
                ),
            ),
        ),
    ),
    23: Pitfall(
        "Permanent errors are retried, and temporary ones are not",
        (
            Mutation(
                "The client gives up at once on a permanent status.",
                STATUSES,
                "return STATUS_RULES.get(status, (status >= 500, ",
                "return STATUS_RULES.get(status, (True, ",
                ("integration/faults/test_retries.py::test_permanent",),
            ),
            Mutation(
                "It retries after a 429.",
                STATUSES,
                "    if busy:\n        return True\n",
                "    if busy:\n        return status != 429\n",
                ("integration/faults/test_retries.py::test_passing",),
            ),
            Mutation(
                "It waits as long as `Retry-After` says.",
                "_transport/retry.py",
                "            return error.retry_after\n",
                "            return self._jitter(state)\n",
                ("integration/faults/test_retries.py::test_retry_after_is_followed",),
            ),
            Mutation(
                "It raises the error if that wait exceeds the budget.",
                "_transport/retry.py",
                "stop_before_delay(left)",
                "stop_before_delay(1e9)",
                ("integration/faults/test_retries.py::test_retry_after_beyond_the_budget",),
            ),
        ),
    ),
    24: Pitfall(
        "A retry of the scoring tokenizes again",
        (
            Mutation(
                "The client repeats one HTTP request, not the chain.",
                "_scoring/pooled.py",
                "            try:\n"
                "                baseline = await self.pool.verified_baseline()\n"
                "                scored = await self._score_once(baseline, [prompts[index] for index in waiting])\n"
                "            except Exception as error:  # noqa: BLE001 - must not cost what is scored already\n"
                "                return _fill(outcomes, error)\n"
                "            for index, outcome in zip(waiting, scored, strict=True):\n"
                "                outcomes[index] = outcome\n",
                "            transport = self.pool.replicas[0].transport\n"
                "            transport._policy = transport._once\n"
                "            try:\n"
                "                baseline = await self.pool.verified_baseline()\n"
                "                scored = await self._score_once(baseline, [prompts[index] for index in waiting])\n"
                "            except Exception as error:  # noqa: BLE001 - must not cost what is scored already\n"
                "                return _fill(outcomes, error)\n"
                "            for index, outcome in zip(waiting, scored, strict=True):\n"
                "                outcomes[index] = None if isinstance(outcome, Exception) else outcome\n",
                ("integration/faults/test_connection.py::test_one_fault_is_overcome",),
            ),
        ),
    ),
    25: Pitfall(
        "Replicas run different models, templates or versions",
        (
            Mutation(
                "The client compares the place that the model was loaded from.",
                "_replicas/comparison.py",
                "if _basename(one.root or one.model) != _basename(two.root or two.model):",
                'if _basename(one.root or one.model) == "":',
                (REPLICAS + "test_25_what_tells_them_apart",),
            ),
            Mutation(
                "It ignores the folder above that place.",
                "_replicas/comparison.py",
                'return root.rstrip("/").rpartition("/")[2].lower()',
                "return root",
                (REPLICAS + "test_25_the_same",),
            ),
            Mutation(
                "It compares the version.",
                "_replicas/comparison.py",
                "_minor(one.version) != _minor(two.version):",
                "_minor(one.version) is _minor(two.version):",
                (
                    REPLICAS + "test_25_what_tells_them_apart",
                    REPLICAS + "test_25_the_doctor_compares_them",
                ),
            ),
            Mutation(
                "It reports a difference that is only in the patch version.",
                "_replicas/comparison.py",
                'return tuple((version or "").split(".")[:2])',
                'return tuple((version or "").split(".")[:3])',
                (REPLICAS + "test_25_what_only_deserves_a_look",),
            ),
            Mutation(
                "It compares the token IDs of a sample.",
                "_replicas/comparison.py",
                "if first.tokens.token_ids != other.tokens.token_ids:",
                "if len(first.tokens.token_ids) == 0:",
                (REPLICAS + "test_25_token_ids_differ_from_a_position_on",),
            ),
            Mutation(
                "It compares the token IDs of the fixed conversations of pitfall 46.",
                "_replicas/comparison.py",
                "    if parts:\n",
                "    if parts is None:\n",
                (
                    REPLICAS + "test_25_templates_that_differ_beside_a_system_message",
                    REPLICAS + "test_25_the_doctor_compares_such_templates",
                ),
            ),
            Mutation(
                "It compares the sample's reward, within 2 % or 0.02.",
                "_base/options.py",
                "replica_tolerance: NonNegativeFloat = 0.02",
                "replica_tolerance: NonNegativeFloat = 0.2",
                (
                    REPLICAS + "test_25_rewards_within_2_percent_or_a_fiftieth",
                    FLEET + "test_the_tolerance_is_the_callers",
                ),
            ),
            Mutation(
                "It compares all servers before its first reward.",
                "_replicas/pool.py",
                "remark = compare(first, fingerprint, self._tolerance)",
                "remark = None",
                (
                    FLEET + "test_what_tells_them_apart_at_the_start",
                    KILLED + "test_one_is_another_model",
                ),
            ),
            Mutation(
                "It compares a replica again before the replica returns to the rotation.",
                "_replicas/pool.py",
                "        replica.transport.mark_lost()  # it is discovered and compared again before its next work\n",
                "",
                (FLEET + "test_one_that_comes_back_as_another_model_stays_out",),
            ),
            Mutation(
                "A file belongs to all replicas that scored it, whichever comes first: those of "
                "another engine or patch version too.",
                "files/settings.py",
                "with_replicas(settings, each_server(now))",
                "with_replicas(settings, ())",
                (FILES_BY_REPLICAS + "test_25_one_that_joins_a_run_may_end_it",),
            ),
            Mutation(
                "No other server resumes it.",
                "_client/equal_settings.py",
                "        elif before != after:\n",
                '        elif before != after and name != "server_version":\n',
                (FILES_BY_REPLICAS + "test_25_a_server_that_was_none_of_them_ends_the_run",),
            ),
            Mutation(
                "Another model in the place of all of them ends the run.",
                "_client/proven_states.py",
                "            self._states.clear()\n",
                "            pass\n",
                ("files/test_resume.py::test_another_model_during_the_run_ends_it",),
            ),
            Mutation(
                "The fingerprint depends on no order of the replicas.",
                "_client/equal_settings.py",
                "sorted(each, key=Settings.model_dump_json)",
                "[*each]",
                (FILES_BY_REPLICAS + "test_25_their_order_changes_no_fingerprint",),
            ),
            Mutation(
                "One that is away for some time counts for the fingerprint.",
                "_client/proven_states.py",
                "        if self._changes != pool.changes:\n",
                "        if self._changes <= pool.changes:\n",
                (FILES_BY_REPLICAS + "test_25_one_that_goes_away_changes_no_fingerprint",),
            ),
        ),
        limit="Each URL must lead to one server: replicas behind a load balancer cannot be "
        "distinguished.",
    ),
    26: Pitfall(
        "The engine dies: errors first, then refused connections",
        (
            Mutation(
                "After two engines died under a sample, the client sends it to no third engine.",
                CALLER,
                "if self._deaths == MAX_DEATHS:",
                "if self._deaths == 1000:",
                ("integration/faults/test_retries.py::test_a_dead_engine_is_tried_once_more",),
            ),
            Mutation(
                "After two replicas failed over a sample, it sends it to no third replica.",
                "_replicas/pool.py",
                "if deaths == MAX_DEATHS or",
                "if deaths == 1000 or",
                (
                    FLEET + "test_what_was_in_flight_at_two_deaths_is_sent_to_no_third",
                    KILLED + "test_a_sample_that_kills_is_sent_to_two",
                ),
            ),
            Mutation(
                "Another replica takes over the work of a failed one at once.",
                "_replicas/pool.py",
                "            if deaths == MAX_DEATHS or (is_last and not is_ejected):\n",
                "            if is_ejected or is_last:\n",
                (
                    FLEET + "test_another_takes_over_at_once",
                    KILLED + "test_one_of_four_is_killed_and_comes_back",
                ),
            ),
            Mutation(
                "The client tries a replica out of rotation again.",
                "_replicas/pool.py",
                "if replica not in self._checks and now - ejection.checked >= pause:",
                "if replica not in self._checks and now < 0:",
                (FLEET + "test_one_that_comes_back_is_compared_and_gets_work_again",),
            ),
            Mutation(
                "It does not wait for a lost server with each further sample.",
                CALLER,
                "self._unreachable = True",
                "self._unreachable = False  # still",
                (
                    CONNECTIONS + "test_26_a_server_that_is_gone_fails_fast",
                    "server/test_discovery.py::test_a_dead_server_fails_fast",
                ),
            ),
            Mutation(
                '`on_error="return"` keeps the earlier rewards.',
                "_client/streaming.py",
                "isinstance(outcome, TokenizerUnavailableError) or not isinstance(outcome, RewardClientError)",
                "isinstance(outcome, Exception)",
                (CONNECTIONS + "test_26_what_was_scored_before_the_engine_died_is_kept",),
            ),
            Mutation(
                "Otherwise `BatchError.results` holds them.",
                "_client/streaming.py",
                '{kept}: {error}", results=scored',
                '{kept}: {error}", results=()',
                (CONNECTIONS + "test_26_the_batch_ends_at_the_first_death",),
            ),
        ),
    ),
    27: Pitfall(
        "The server failed to load an exported head, and at most its log says so: hidden states "
        "come, a normalized number, or the result of a part of the head",
        (
            Mutation(
                "The client scores the manifest's reference values before it trusts any reward. "
                "If one differs, it raises `NotARewardError` with the cause.",
                PROVING,
                "        if error is not None:\n",
                "        if error is not None and not reference.token_ids:\n",
                (
                    RAW_VALUES + "test_27_a_part_of_the_head_gives_a_plausible_number",
                    RAW_VALUES + "test_27_a_step_of_several_differs",
                    RAW_VALUES + "test_27_one_objective_of_several_differs",
                ),
            ),
            Mutation(
                "It scores them again if another server may have come up.",
                "_replicas/monitor.py",
                'if state.strategy.exported or state.activation.known_by in ("probe", "reference"):',
                'if state.activation.known_by == "probe":',
                (RAW_VALUES + "test_27_another_checkpoint_comes_up_behind_the_same_name",),
            ),
            Mutation(
                "It raises `NotARewardError` with the cause for rows of another width than the "
                "manifest's head.",
                "_server/manifest_checks.py",
                "if export is None:",
                "if export is None or layout:",
                (
                    RAW_VALUES + "test_27_hidden_states_where_a_manifest_says_otherwise",
                    RAW_VALUES + "test_27_hidden_states_of_each_token",
                ),
            ),
            Mutation(
                "It rejects a manifest on versions that apply no Dense modules.",
                DISCOVERY,
                "    if error is not None:\n        raise error\n",
                "    if error is not None and not manifest:\n        raise error\n",
                (RAW_VALUES + "test_27_versions_that_apply_no_dense_modules",),
            ),
            Mutation(
                "It scores one probe alone in the other encoding, and compares.",
                CROSS_CHECK,
                "return _OTHER_ENCODING[encoding] if state.strategy.exported else encoding",
                "return encoding",
                (RAW_VALUES + "test_27_a_gateway_that_changes_values",),
            ),
            Mutation(
                "It logs a warning without a manifest, or if the manifest has no reference values.",
                DISCOVERY,
                "if exported and not provable(recipe, promised.max_model_len):",
                "if exported and provable(recipe, promised.max_model_len):",
                (
                    RAW_VALUES + "test_27_a_manifest_that_was_not_verified",
                    RAW_VALUES + "test_27_no_manifest",
                ),
            ),
            Mutation(
                "It raises `NotARewardError` if all values are 1 or -1.",
                EVIDENCE,
                "if any(abs(value) != 1 for value in values):",
                "if any(value != 1 for value in values):",
                (RAW_VALUES + "test_27_a_normalized_reward_is_1_or_minus_1",),
            ),
            Mutation(
                "It raises `NotARewardError` for hidden states, even without a manifest.",
                "heads/scalar.py",
                "layout.width == 1:",
                "layout.width >= 1:",
                (RAW_VALUES + "test_27_hidden_states_where_the_head_was_not_loaded",),
            ),
            Mutation(
                "The doctor reports that nothing proves the head without a manifest.",
                "_doctor/server_checks.py",
                "if state.strategy.exported and not is_proven(state) and not",
                "if not state.strategy.exported and not is_proven(state) and not",
                (RAW_VALUES + "test_27_the_doctor_says_that_the_head_is_not_proven",),
            ),
        ),
        limit="Without the manifest as recipe, a part of the head cannot be distinguished from "
        "the whole.",
    ),
    28: Pitfall(
        "HTTP 200 with an error in the body (up to 0.17.1; a dead engine on 0.16), or with other JSON of "
        "a gateway",
        (
            Mutation(
                "The client reads the body before the status.",
                CALLER,
                "error = read_error(response.body, payload, response.sent, failed=not response.succeeded)",
                "error = (\n"
                "            None\n"
                "            if response.status < 300 and payload is not None\n"
                "            else read_error(response.body, payload, response.sent)\n"
                "        )",
                (
                    REPLIES + "test_28_a_route_that_is_mounted_and_not_served",
                    REPLIES + "test_28_an_error_of_status_200",
                    REPLIES + "test_28_a_dead_engine_of_status_200",
                    "integration/faults/test_retries.py::test_error_in_a_body_of_200",
                ),
            ),
            Mutation(
                "A reply without a model's name is no other server's: the client names the missing outputs, "
                "and finds the sample that gets it.",
                "_server/requests.py",
                "response.model not in (None, state.response_model):",
                "response.model != state.response_model:",
                (REPLIES + "test_28_a_reply_without_rewards_fails_its_sample_alone",),
            ),
            Mutation(
                "Outputs without the name are another server's, if the server names its model.",
                "_server/requests.py",
                "    if state is not None and response.model != state.response_model:\n        raise OtherModelError\n",
                "",
                (REPLIES + "test_28_outputs_without_the_name_of_the_model",),
            ),
        ),
    ),
    29: Pitfall(
        "A negative token ID kills the whole server (0.10 to 0.27)",
        (
            Mutation(
                "The client raises `InputError` for a negative ID.",
                "_base/token_ids.py",
                'b"-" in written or ',
                "",
                (REPLIES + "test_29_token_ids_are_checked_before_they_are_sent",),
            ),
            Mutation(
                "It raises `InputError` for anything but an integer.",
                "_base/token_ids.py",
                ' or b"e" in written',
                "",
                (REPLIES + "test_29_token_ids_are_checked_before_they_are_sent",),
            ),
            Mutation(
                "It also rejects such an ID from `/tokenize`.",
                "_protocols/token_responses.py",
                "ids = checked(tokens)",
                "ids = tokens",
                (REPLIES + "test_29_nor_does_the_server_make_the_client_send_one",),
            ),
        ),
        limit="No server reports the size of its vocabulary. The server refuses an ID beyond it; "
        "vLLM up to 0.25 (for some models also later) accepts the first IDs beyond it.",
    ),
    30: Pitfall(
        "A dead engine answers 200, 400 or 500, in words that depend on the version",
        (
            Mutation(
                "The client recognizes it by its message, whatever the status.",
                STATUSES,
                "    if _DEAD_ENGINE.search(error.message):",
                "    if status >= 500 and _DEAD_ENGINE.search(error.message):",
                (
                    "transport/test_status_errors.py::test_recorded_deaths",
                    "integration/faults/test_retries.py::test_a_dead_engine_is_tried_once_more",
                ),
            ),
            Mutation(
                "It knows the words of 0.33, which do not name the engine.",
                STATUSES,
                'r"|^The server had an error while processing your request\\.$"',
                'r"|^The engine is dead\\.$"',
                ("transport/test_status_errors.py::test_recorded_deaths",),
            ),
        ),
    ),
    31: Pitfall(
        "Errors repeat the whole input (184 kB were seen), with prompts and paths",
        (
            Mutation(
                "The client cuts off the repeated input.",
                STATUSES,
                "text = _ECHO.split(text, maxsplit=1)[0]",
                "text = text.strip()",
                (
                    REPLIES + "test_31_an_echoed_input_goes_nowhere",
                    "transport/test_status_errors.py::test_an_echoed_input_is_left_out",
                ),
            ),
            Mutation(
                "It reads only the beginning of an error.",
                "_transport/backends/base.py",
                "limit = MAX_ERROR_BYTES if failed else max_bytes",
                "limit = max_bytes",
                (REPLIES + "test_31_an_error_is_not_read_to_its_end",),
            ),
            Mutation(
                "It shows at most 300 characters.",
                STATUSES,
                "_SHOWN_CHARACTERS = 300",
                "_SHOWN_CHARACTERS = 100_000",
                ("transport/test_status_errors.py::test_a_long_body_is_cut",),
            ),
            Mutation(
                "It logs no word of a server's error.",
                "_transport/retry.py",
                "        _last_failure(state).summary,",
                "        _last_failure(state).error,",
                (REPLIES + "test_31_nothing_of_a_sample_is_logged",),
            ),
        ),
    ),
    32: Pitfall(
        "If a body has both `messages` and `input` (or `prompt`), versions disagree on which one "
        "counts",
        (
            Mutation(
                "The client sends exactly one of them.",
                READABLE,
                '{"messages": readable(conversation.messages, read, server)}',
                '{"messages": readable(conversation.messages, read, server), "prompt": "x"}',
                (REQUESTS + "test_32_never_two_contents_in_one_body",),
            ),
        ),
    ),
    33: Pitfall(
        "`classifier_from_token` loads nothing on 0.11.1 to 0.14.1: values around 1e-42, all "
        "labels equal",
        (
            Mutation(
                "The client raises `NotARewardError`.",
                EVIDENCE,
                "    _refuse_dead_heads(rows)\n",
                "",
                (
                    RAW_VALUES + "test_33_a_head_that_was_not_loaded",
                    OBJECTIVES + "test_a_classifier_whose_weights_were_not_loaded_is_refused",
                ),
            ),
        ),
    ),
    34: Pitfall(
        "Log-probabilities mislead: versions before 0.26 ignore `logprob_token_ids`, "
        "`/generative_scoring` on raw logits answers exp(logit), and tokens that are not UTF-8 "
        "share a key",
        (
            Mutation(
                "The client requests no log-probability where it reads a head.",
                "_protocols/vllm/scoring_request.py",
                "            **self.switches,\n",
                '            **self.switches,\n            "logprobs": 1,\n',
                (REQUESTS + "test_34_log_probabilities_are_never_requested",),
            ),
            Mutation(
                "It requests each token with a missing number alone.",
                "_server/requests.py",
                "    if missing:\n",
                "    if not missing:\n",
                ("methods/test_yes_no.py::test_the_difference_of_two_logits",),
            ),
            Mutation(
                "It rejects a log-probability in the place of a logit.",
                "_server/proof.py",
                "    if max(numbers) > _LOGPROB_ROUNDING:\n",
                "    if numbers:\n",
                ("methods/test_token_logit.py::test_a_log_probability_is_no_logit",),
            ),
            Mutation(
                "It names tokens by their IDs.",
                "_protocols/vllm/logprobs.py",
                '"return_tokens_as_token_ids": True,',
                '"return_tokens_as_token_ids": False,',
                ("methods/test_token_logit.py::test_the_reward_is_the_logit",),
            ),
        ),
    ),
    35: Pitfall(
        "Losses that began before a discovery spoil it: one restart of the server fails most of "
        "a run",
        (
            Mutation(
                "Only a loss that began after a discovery spoils it.",
                "_replicas/monitor.py",
                "return self._transport.lost_at >= self._verified_from",
                "return self._transport.lost_at > 0 or self._state is None",
                (
                    "replicas/test_monitor_losses.py::test_35_a_loss_that_began_before_spoils_nothing",
                ),
            ),
            Mutation(
                "A loss during a discovery does spoil it.",
                "_replicas/monitor.py",
                "return self._transport.lost_at >= self._verified_from",
                "return False",
                ("replicas/test_monitor_losses.py::test_35_a_loss_that_began_since_does",),
            ),
            Mutation(
                "A late attempt doubts a discovery only if the server was silent since: another one "
                "may have come up.",
                CALLER,
                "self.mark_lost(max(failed_at, self._fell_silent_at))",
                "self.mark_lost(failed_at)",
                ("transport/test_losses.py::test_35_a_silence_may_hide_another_server",),
            ),
        ),
    ),
    36: Pitfall(
        "JSON of millions of empty lists is below the size limit, and blocks the event loop past "
        "every deadline",
        (
            Mutation(
                "The client counts the values of a large response before it parses it.",
                CALLER,
                "        if is_overfull(response.body):\n",
                '        if is_overfull(b""):\n',
                ("base/test_json_values.py::test_36_an_overfull_response_is_not_parsed",),
            ),
        ),
    ),
    37: Pitfall(
        "A server or proxy trickles bytes, or responses of status 1xx, without end; each of them "
        "restarts the deadline for the next bytes",
        (
            Mutation(
                "The client ends a response on its own connections after twice the deadline for "
                "its next bytes, and at least 30 s.",
                "_transport/backends/aiohttp.py",
                "        deadline = asyncio.timeout(self._seconds)\n",
                "        deadline = asyncio.timeout(None)\n",
                (BOUNDS + "test_37_a_trickle_ends",),
            ),
            Mutation(
                "It does so on a transport of httpx and through an OpenAI client, from the moment "
                "when the request is sent.",
                "_transport/backends/httpx.py",
                "            if event.endswith(_IS_SENT):\n",
                "            if not event:\n",
                (BOUNDS + "test_37_a_trickle_ends",),
            ),
        ),
        limit="`Timeouts(read=None)` switches this off. Other transports than those of httpx bound "
        "the wait for the headers themselves. `Timeouts(total=…)` bounds everything.",
    ),
    38: Pitfall(
        "A server that is away for minutes, because it restarts and loads its model, fails every "
        "sample within seconds",
        (
            Mutation(
                "By default, time and not the number of attempts ends the wait for a server that "
                "answered before.",
                "_base/options.py",
                "    attempts: PositiveInt | None = None\n",
                "    attempts: PositiveInt | None = 5\n",
                (
                    PATIENCE + "test_38_a_server_that_answered_before_is_awaited",
                    PATIENCE + "test_38_a_busy_gateway_is_awaited",
                ),
            ),
            Mutation(
                "A server that fails while it answers gets five attempts.",
                CALLER,
                "            if self._failures == _MAX_FAILURES and transport.time_binds:\n",
                "            if not self._failures:\n",
                (PATIENCE + "test_38_a_request_that_fails_alone_is_not",),
            ),
            Mutation(
                "From the second failure on it asks first what the server answered before: if nobody answers "
                "that, whoever resets connections or sends 500 does so for a server that is away.",
                CALLER,
                "                return self._as_away(last)\n",
                "                pass\n",
                (PATIENCE + "test_38_a_server_is_awaited_behind_whoever_answers_for_it",),
            ),
            Mutation(
                "If the server answers that, the request has its failure for itself, and five attempts, "
                "also with a status of a server that is away.",
                CALLER,
                "        self._is_away = failure.away and not is_answered\n",
                "        self._is_away = failure.away\n",
                (PATIENCE + "test_38_a_request_that_fails_alone_is_not",),
            ),
            Mutation(
                "A 404, or a page in the place of JSON, ends no wait if all routes send it.",
                CALLER,
                "        if await self._is_anyones(failure):\n",
                "        if False:\n",
                (
                    PATIENCE + "test_38_a_server_is_awaited_behind_whoever_answers_for_it",
                    PATIENCE + "test_38_a_discovery_waits_too",
                ),
            ),
            Mutation(
                "One warning for each time that the server is away: an attempt that failed before it came "
                "back says nothing.",
                CALLER,
                "        if self._has_answered and self._warned_at <= self._succeeded_at < failing_since:\n",
                "        if self._has_answered and self._warned_at <= self._succeeded_at:\n",
                (PATIENCE + "test_38_one_warning_for_one_outage",),
            ),
            Mutation(
                "A server that never answered fails within seconds, and the error names "
                "`wait_until_ready`.",
                CALLER,
                "return self._policy if self._has_answered else self._first_contact",
                "return self._policy",
                (PATIENCE + "test_38_a_first_contact_fails_within_seconds",),
            ),
            Mutation(
                "`wait_until_ready` waits for a server that is starting.",
                "_client/session.py",
                "            except SERVER_FAILURES as error:\n                last = error\n",
                "            except SERVER_FAILURES:\n                raise\n",
                (PATIENCE + "test_38_a_server_that_is_starting_can_be_awaited",),
            ),
            Mutation(
                "It gives each look at the server a share of the time, since a connection may never be answered.",
                "_client/session.py",
                "asyncio.timeout(min(left, share))",
                "asyncio.timeout(left)",
                (PATIENCE + "test_38_a_connection_that_nobody_answers_takes_a_share_of_the_wait",),
            ),
            Mutation(
                "Its error names the servers and the last attempt.",
                "_client/session.py",
                "                last = await self._last_error()\n",
                "                pass\n",
                (PATIENCE + "test_38_a_wait_names_the_server_and_the_last_attempt",),
            ),
        ),
    ),
    39: Pitfall(
        "An HTTP library reads and unpacks a response whole before anyone sees its size: one "
        "megabyte becomes a gigabyte",
        (
            Mutation(
                "The client stops at the limit for a response.",
                "_transport/backends/base.py",
                "            if len(body) > limit:\n                break\n",
                "",
                (BOUNDS + "test_39_no_more_than_the_limit_is_read",),
            ),
            Mutation(
                "It unpacks no further than the limit.",
                "_transport/backends/base.py",
                "unpack(chunk, left) if unpack",
                "unpack(chunk) if unpack",
                (BOUNDS + "test_39_no_more_than_the_limit_is_read",),
            ),
            Mutation(
                "It reads the responses to an OpenAI client itself, errors included.",
                "_transport/backends/openai.py",
                '"stream": True',
                '"stream": False',
                (BOUNDS + "test_39_no_more_than_the_limit_is_read",),
            ),
        ),
    ),
    40: Pitfall(
        'A misspelt or mistyped option means something else: `on_error="Raise"` would return '
        'errors, `force="no"` would replace a folder',
        (
            Mutation(
                "The client raises `InputError` for a value outside of the option's set.",
                "_client/sync_client.py",
                '        check_choice("on_error", on_error, get_args(OnError))  # before the samples are read\n',
                "",
                (CLOSED + "test_40_a_value_outside_of_a_closed_set_is_refused",),
            ),
            Mutation(
                "A transport that cannot send asynchronously is refused before the first request.",
                "_client/config.py",
                "        if not _is_transport(self.transport):\n",
                "        if self.transport is self:\n",
                ("client/test_options.py::test_wrong_options",),
            ),
            Mutation(
                "So are headers and keys that are no str, which would be sent as their repr.",
                "_client/base_url.py",
                '    if not isinstance(cast("object", api_key), str | None):\n',
                "    if api_key is headers is not None:\n",
                ("client/test_options.py::test_wrong_options",),
            ),
            Mutation(
                "It does so for each option of the public surface, and takes no number or text "
                "for True or False.",
                "_base/choices.py",
                "isinstance(value, type(choice)) and value == choice",
                "value == choice",
                (CLOSED + "test_40_a_value_outside_of_a_closed_set_is_refused",),
            ),
        ),
    ),
    41: Pitfall(
        "One text of a judge hangs the process: a pattern backtracks for hours, and neither a "
        "deadline nor Ctrl-C ends it; or a pattern means another thing to the library that has deadlines",
        (
            Mutation(
                "The patterns of the recipes take linear time.",
                "recipes/catalogue/skywork-critic.toml",
                r"'\[\[\s*+((?:(?!\[\[|\]\]).)*+)\s*+\]\]'",
                r"'\[\[\s*(.*?)\s*\]\]'",
                (PATTERNS + "test_41_patterns_that_ship_are_linear",),
            ),
            Mutation(
                "The client ends each search after a second, with a `GenerationError`.",
                "_base/patterns.py",
                "finditer(text, timeout=SEARCH_SECONDS)",
                "finditer(text[:10])",
                (PATTERNS + "test_41_a_pattern_that_backtracks_ends_at_its_deadline",),
            ),
            Mutation(
                "Searches run in other threads than the event loop, so that the deadlines of other samples hold.",
                "_scoring/judge.py",
                "        return await asyncio.to_thread(mean)\n",
                "        return mean()\n",
                ("methods/test_verdict.py::test_41_a_search_holds_up_no_event_loop",),
            ),
            Mutation(
                "It searches no text of more than a million characters.",
                "_base/patterns.py",
                "if len(text) > SEARCHED_CHARACTERS:",
                "if not text:",
                (PATTERNS + "test_41_an_endless_text_is_not_searched",),
            ),
            Mutation(
                "It refuses patterns that this library reads otherwise than `re`.",
                "_base/patterns.py",
                "    _refuse_other_meanings(pattern)\n",
                "",
                (PATTERNS + "test_41_a_pattern_with_another_meaning_than_in_re",),
            ),
            Mutation(
                "A search that needs too much memory ends alike.",
                "_base/patterns.py",
                "except (TimeoutError, MemoryError) as error:",
                "except TimeoutError as error:",
                (PATTERNS + "test_41_a_search_without_memory",),
            ),
        ),
    ),
    42: Pitfall(
        "A file is scored without a column that the model should see: `system`, "
        "`history`, `images`",
        (
            Mutation(
                "The client puts the text of `system` or `system_prompt` before the messages.",
                "_rows/prompts.py",
                '        return [{"role": "system", "content": system}, *turns]\n',
                "        return turns\n",
                (ROWS + "test_42_a_system_column_is_the_system_message",),
            ),
            Mutation(
                "It refuses a row with two different system messages.",
                "_rows/prompts.py",
                '    if first.get("content") != system:\n',
                "    if not first:\n",
                (ROWS + "test_42_two_system_messages_are_refused",),
            ),
            Mutation(
                "It refuses a row with a column of known meaning that it does not read.",
                "_rows/columns.py",
                "    if advice is not None and not _is_number(value, advice):\n",
                "    if not name:\n",
                (ROWS + "test_42_a_column_with_a_meaning_is_not_ignored",),
            ),
            Mutation(
                "It knows such a column by its words: `systemPrompt`, `chat-history`, `Image URLs`.",
                "_rows/columns.py",
                "    words = [word.lower() for word in _WORD.findall(name)]\n",
                "    words = [name.lower()]\n",
                (ROWS + "test_42_a_column_is_known_by_its_words",),
            ),
            Mutation(
                "It takes a column about such a column for what it is: `system_id`, `image_count`.",
                "_rows/columns.py",
                "    found = _NAME.fullmatch(usual)\n",
                "    found = _NAME.search(usual)\n",
                (ROWS + "test_42_a_column_about_a_column_is_ignored",),
            ),
            Mutation(
                "The summary names all columns that the client does not read.",
                "files/runner.py",
                "is_kept=False, unread=row.unread)",
                "is_kept=False)",
                (ROWS + "test_42_the_summary_names_the_columns_that_are_not_read",),
            ),
        ),
    ),
    43: Pitfall(
        "A scored file deletes or overwrites a file beside it that the client did not write",
        (
            Mutation(
                "The client begins no output beside a file with the name of a retry or of settings.",
                "files/runner.py",
                "    _check_side_files(output)\n",
                "",
                (RETRY + "test_43_a_file_of_somebody_else_beside_the_output_stays",),
            ),
            Mutation(
                "It writes settings to a new file first, and never to one that exists.",
                "_base/atomic_file.py",
                'new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")\n    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _CLOEXEC, 0o666)',
                'new = path.with_name(f"{path.name}.new")\n    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _CLOEXEC, 0o666)',
                (RETRY + "test_43_new_settings_are_written_beside_no_file_of_somebody_else",),
            ),
        ),
    ),
    44: Pitfall(
        "Text of a server, a file or a model controls the terminal by escape sequences, or shows a "
        "credential that another encoding hides",
        (
            Mutation(
                "The client escapes control characters in every error.",
                "errors.py",
                "super().__init__(printable(message))",
                "super().__init__(message)",
                (UNTRUSTED + "test_44_no_error_shows_control_characters",),
            ),
            Mutation(
                "It escapes them in its log lines.",
                "__init__.py",
                "logging.getLogger(__name__).addFilter(escape_record)",
                "logging.getLogger(__name__)",
                (UNTRUSTED + "test_44_no_log_line_holds_control_characters",),
            ),
            Mutation(
                "It escapes them in everything that a command prints.",
                "cli/_output.py",
                "printable(str(text)).encode",
                "str(text).encode",
                (UNTRUSTED + "test_44_show_escapes_control_characters",),
            ),
            Mutation(
                "It blanks a credential whose characters are escaped, as JSON, HTML and URLs do, "
                "also one within the other.",
                "_transport/redaction.py",
                '_any_form(" ").join(map(r"\\s*".join, words))',
                "re.escape(secret)",
                (
                    UNTRUSTED + "test_44_a_credential_is_blanked_in_every_encoding",
                    UNTRUSTED + "test_44_in_an_error_of_a_server_too",
                ),
            ),
            Mutation(
                "A name begins no line of an error or a report.",
                "_printable.py",
                'return printable(text).replace("\\n", "\\\\n")',
                "return printable(text)",
                (
                    UNTRUSTED + "test_44_a_name_begins_no_line_of_an_error",
                    UNTRUSTED + "test_44_a_name_begins_no_line_of_a_report",
                ),
            ),
            Mutation(
                "An error of a command begins one line alone.",
                "cli/_output.py",
                'text = str(error).replace("\\n", "\\n  ")',
                "text = str(error)",
                (UNTRUSTED + "test_44_an_error_begins_no_line",),
            ),
        ),
    ),
    45: Pitfall(
        "A checkpoint from elsewhere makes the export hang on a pipe or a device, or copy a file of "
        "this machine through a link",
        (
            Mutation(
                "The client opens regular files only, as weights, recipes and parts of a "
                "checkpoint, and waits for no pipe.",
                "_base/regular_file.py",
                "if stat.S_ISREG(os.fstat(descriptor).st_mode):",
                "if descriptor:",
                (
                    LINKS + "test_45_a_special_file_is_refused_and_not_waited_for",
                    LINKS + "test_45_a_pipe_as_a_head_or_as_a_recipe",
                ),
            ),
            Mutation(
                "The export reads 64 MiB of a JSON file at most.",
                "export/checkpoint.py",
                "            if os.fstat(file.fileno()).st_size > _LARGEST_JSON:\n",
                "            if not path:\n",
                (LINKS + "test_45_a_configuration_without_end_is_not_read",),
            ),
            Mutation(
                "The export follows no link out of the checkpoint, except into the blobs of the "
                "same model in a hub cache.",
                "export/checkpoint.py",
                "if not any(target.is_relative_to(allowed) for allowed in roots):",
                "if not roots:",
                (
                    LINKS + "test_45_a_link_out_of_the_checkpoint_is_refused",
                    LINKS + "test_45_a_hub_cache_does_not_open_its_neighbours",
                ),
            ),
        ),
        limit="Weight files may be links to any file in the format safetensors.",
    ),
    46: Pitfall(
        "A cache above the client returns the rewards of an earlier model, because the client "
        "itself is the same",
        (
            Mutation(
                "The fingerprint of the settings covers the rewards of eight fixed prompts, so that "
                "it differs for another model of the same name.",
                "_base/results.py",
                "hashlib.sha256(self.model_dump_json().encode())",
                'hashlib.sha256(self.model_dump_json(exclude={"probe_scores"}).encode())',
                (
                    "files/test_settings.py::test_46_a_fingerprint_tells_two_models_behind_one_name_apart",
                ),
            ),
            Mutation(
                "It covers the token IDs of a fixed conversation, which another chat template changes.",
                "_server/state.py",
                "            template_digest=self.template.digest,\n",
                "            template_digest=None,\n",
                ("files/test_settings.py::test_46_a_fingerprint_tells_two_templates_apart",),
            ),
            Mutation(
                "There are several such conversations: with a system message, with tools, with "
                "thoughts, with an empty answer. What the server refuses counts too.",
                "_server/template_look.py",
                "orjson.dumps(sorted(self.renderings.items()))",
                'orjson.dumps(self.renderings.get("turns"))',
                (
                    "files/test_settings.py::test_46_a_fingerprint_tells_templates_apart_that_treat_a_part_differently",
                    "server/test_template_look.py::test_a_refusal_is_known",
                ),
            ),
            Mutation(
                "The template of a local tokenizer counts in the same way.",
                "_server/template_look.py",
                "        return TemplateLook(_headers(shown), renderings=renderings, of_texts=True)\n",
                "        return TemplateLook(_headers(shown), of_texts=True)\n",
                (INPUT + "test_46_a_fingerprint_tells_two_local_templates_apart",),
            ),
        ),
        limit="A cache must use the fingerprint in its key. The client cannot see a cache above it. "
        "Two templates that differ only in what else a conversation may hold look the same, such as "
        "further roles or arguments.",
    ),
    47: Pitfall(
        "A server ignores keys of a message that its version does not read (`text`, `value`, "
        "`reasoning_content`), and a template leaves out parts that the server reads",
        (
            Mutation(
                "The client raises `InputError` with the key to write instead.",
                READABLE,
                "        if known is None or known.roles is None:\n            raise InputError(_unread(position, key, server, read))\n",
                "        if known is None or known.roles is None:\n            continue\n",
                (
                    INPUT + "test_47_a_key_that_no_server_reads",
                    INPUT + "test_47_reasoning_that_the_version_ignores",
                    INPUT + "test_47_which_keys_a_version_reads",
                ),
            ),
            Mutation(
                "The version table knows the roles of the messages whose key a version reads.",
                READABLE,
                "        if known is not None and (known.roles is None or role in known.roles):\n",
                "        if known is not None:\n",
                (INPUT + "test_47_which_keys_a_version_reads",),
            ),
            Mutation(
                "It sends `reasoning_content` by the name that the version reads.",
                READABLE,
                "        message = {key: value for key, value in message.items() if key != other_name} | {\n"
                "            reasoning: message[other_name]\n        }\n",
                "        message = {key: value for key, value in message.items() if key != other_name}\n",
                (INPUT + "test_47_reasoning_is_sent_by_the_name_that_the_version_reads",),
            ),
            Mutation(
                "A message without content and without tool calls is an error, and so is a key of a "
                "part that no server reads.",
                "_base/samples.py",
                '        if not message.get("tool_calls"):\n',
                "        if not message:\n",
                (INPUT + "test_47_a_key_that_no_server_reads",),
            ),
            Mutation(
                "Content without a part is no content, and a part without content is an error.",
                "_base/samples.py",
                "    if content is None or (parts is not None and not parts):\n",
                "    if content is None:\n",
                (INPUT + "test_47_a_key_that_no_server_reads",),
            ),
            Mutation(
                "The first conversations with tools, or with a key of a message besides its content, "
                "are tokenized without them too: the token IDs must differ.",
                "_tokenization/tokenizer.py",
                "            if await ids_of(rest) != ids:\n",
                "            if await ids_of(rest):\n",
                (INPUT + "test_47_parts_that_the_template_leaves_out",),
            ),
            Mutation(
                "The version table lists the keys.",
                SHOWN_PARTS,
                "_CONTENTS = (*sorted(_KEYS - _LABELS), ",
                '_CONTENTS = ("tool_calls", "reasoning", ',
                (
                    INPUT + "test_47_parts_that_the_template_leaves_out",
                    INPUT + "test_47_the_tools_of_a_developer_that_the_template_leaves_out",
                ),
            ),
            Mutation(
                "So are the first ones with an argument of the template that is a text, a list or an "
                "object. A switch that changes nothing is logged.",
                SHOWN_PARTS,
                '        if (form := ("argument", name, is_switch)) not in known and (value or is_switch):\n',
                '        if (form := ("argument", name, is_switch)) not in known and is_switch:\n',
                (INPUT + "test_47_an_argument_that_the_template_leaves_out",),
            ),
            Mutation(
                "A local tokenizer that nobody compares is asked in the same way.",
                "_tokenization/tokenizer.py",
                "                else self._is_shown(profile, prompt)\n",
                "                else True\n",
                (INPUT + "test_47_an_argument_that_the_template_leaves_out",),
            ),
            Mutation(
                "So are the first ones with names. A name that the template leaves out is logged: most "
                "templates show none.",
                SHOWN_PARTS,
                "            for key in (*_CONTENTS, _NAME):\n",
                "            for key in _CONTENTS:\n",
                (INPUT + "test_47_a_name_that_the_template_leaves_out",),
            ),
        ),
        "A template that leaves out the text of a turn: the doctor finds it.",
    ),
    48: Pitfall(
        "A conversation without an answer, or with an answer that follows an answer, gets a number "
        "like any other",
        (
            Mutation(
                "The client raises `InputError` if no answer is at the end.",
                "_base/turns.py",
                '    return conversation.steps is None and conversation.messages[-1]["role"] in _NO_ANSWERS\n',
                "    return False\n",
                (INPUT + "test_48_a_conversation_ends_with_one_answer",),
            ),
            Mutation(
                "It raises it if an answer follows an answer.",
                "_base/turns.py",
                "        if role == previous == _ANSWER:\n",
                "        if role == previous == None:\n",
                (INPUT + "test_48_a_conversation_ends_with_one_answer",),
            ),
            Mutation(
                "`rank` raises it for a prompt that ends with an answer.",
                "_base/turns.py",
                '    if turns[-1]["role"] == _ANSWER:\n',
                '    if turns[-1]["role"] is _NO_ANSWERS:\n',
                (INPUT + "test_48_rank_takes_a_prompt_without_an_answer",),
            ),
        ),
    ),
    49: Pitfall(
        "A response that was decoded with its special tokens (`88<|end|>`), or that writes a role "
        "header, becomes control tokens inside of a content",
        (
            Mutation(
                "The client raises `InputError` for texts that the server's tokenizer keeps whole, "
                "and asks it once for each text.",
                "_tokenization/tokenizer.py",
                "                is_control[text] = len(ids) == 1\n",
                "                is_control[text] = not ids\n",
                (INPUT + "test_49_a_control_token_in_a_content",),
            ),
            Mutation(
                "What it knows of these texts belongs to one server.",
                "_tokenization/tokenizer.py",
                "            if known.profile is profile:\n",
                "            if known.profile is not None:\n",
                (
                    INPUT + "test_49_another_server_has_other_control_tokens",
                    INPUT + "test_49_two_servers_at_once",
                ),
            ),
            Mutation(
                "It looks for them in parts as the template joins them.",
                CONTROL_TOKENS,
                "    for joint in _JOINTS:\n",
                "    for joint in _JOINTS[:0]:\n",
                (INPUT + "test_49_a_control_token_in_what_the_template_gets",),
            ),
            Mutation(
                "It looks for them in the arguments of tool calls, parsed as vLLM does.",
                CONTROL_TOKENS,
                "                yield from _texts(json.loads(arguments))\n",
                "                yield arguments\n",
                (INPUT + "test_49_a_control_token_in_what_the_template_gets",),
            ),
            Mutation(
                "It looks for them in the definitions of tools and in the arguments of the template.",
                CONTROL_TOKENS,
                "    given = (prompt.tools, prompt.chat_template_kwargs)\n",
                "    given = (None, None)\n",
                (INPUT + "test_49_a_control_token_in_what_the_template_gets",),
            ),
            Mutation(
                "The tokens for unknown and masked text count too: some models pad with them.",
                CONTROL_TOKENS,
                "|unk|mask|",
                "|",
                (INPUT + "test_49_a_control_token_in_what_the_template_gets",),
            ),
            Mutation(
                "It refuses what the template writes between turns, plain text too.",
                "_server/template_look.py",
                "        for piece in pieces[1:]\n",
                "        for piece in pieces[:0]\n",
                (INPUT + "test_49_plain_headers_of_turns",),
            ),
            Mutation(
                "Such plain text is all that stands between two contents, if it names something and "
                "has a line break or rare punctuation.",
                CONTROL_TOKENS,
                "    if _RARELY.search(text):\n",
                '    if ":" in text:\n',
                (INPUT + "test_49_a_plain_header_is_what_the_template_writes",),
            ),
            Mutation(
                "A line of ordinary words is a header exactly as the template writes it.",
                CONTROL_TOKENS,
                '    return text if text.lstrip(" \\t\\r").startswith("\\n") else None\n',
                "    return None\n",
                (INPUT + "test_49_a_plain_header_is_what_the_template_writes",),
            ),
            Mutation(
                "Padding may be named like the place of an image (`<|vision_pad|>`).",
                CONTROL_TOKENS,
                "        and _PADDING.fullmatch(marker) is None\n",
                "",
                (INPUT + "test_49_padding_that_is_named_like_an_image",),
            ),
            Mutation(
                'With `on_control_tokens="strip"`, end tokens and padding at the end of the answer go.',
                CONTROL_TOKENS,
                "        text = text.rstrip().removesuffix(end)\n",
                "        return text\n",
                (INPUT + "test_49_end_tokens_may_be_stripped_from_the_answer",),
            ),
            Mutation(
                "A judge's prompt is checked with the answer in it.",
                "_scoring/factory.py",
                "TextGenerator, max_texts=limits.max_concurrency, on_control_tokens=on_control_tokens",
                'TextGenerator, max_texts=limits.max_concurrency, on_control_tokens="allow"',
                (INPUT + "test_49_a_judge_is_not_told_what_to_write",),
            ),
        ),
        "`FormattedText` and token IDs are the caller's own. Control tokens that look like none of "
        "the known families, and stand in no template, are not found. A template that separates turns "
        "by spaces, or by words without a line break or rare punctuation, has no header to find.",
    ),
    50: Pitfall(
        "A chat template writes today's date, so equal samples get other rewards on another day",
        (
            Mutation(
                "The client looks for the date in the prompt at first contact, and warns.",
                DISCOVERY,
                "    if promised.template.day is not None:\n",
                "    if promised.template is None:\n",
                (
                    INPUT + "test_50_a_template_that_writes_today",
                    INPUT + "test_50_a_template_whose_date_no_argument_sets",
                ),
            ),
            Mutation(
                "It looks at conversations with a system message, with tools and with thoughts.",
                "_server/template_look.py",
                "    days = _days(shown)\n",
                '    days = _days({name: shown[name] for name in shown if name == "turns"})\n',
                (INPUT + "test_50_a_date_beside_one_part_alone",),
            ),
            Mutation(
                "It finds the year, the month and the day in any order.",
                DATES,
                "        or any(_stand_near(words, parts) for parts in near)\n",
                "",
                (
                    INPUT + "test_50_a_template_that_writes_today",
                    "server/test_written_dates.py::test_dates",
                ),
            ),
            Mutation(
                "It finds them however far apart they are, if no other number stands between.",
                DATES,
                "        or _are_alone(words, (years, names, days))\n",
                "",
                (
                    INPUT + "test_50_a_template_that_writes_today",
                    "server/test_written_dates.py::test_dates",
                ),
            ),
            Mutation(
                "Capitals make no difference.",
                DATES,
                "text.casefold()",
                "text",
                (INPUT + "test_50_a_date_in_capitals",),
            ),
            Mutation(
                "A weekday with the day, a week, a day of the year, and seconds since 1970 are dates.",
                DATES,
                "_day_of_epoch(word[0]) == day",
                "False",
                (INPUT + "test_50_a_template_that_writes_today",),
            ),
            Mutation(
                "It compares what the template of a local tokenizer writes with and without a clock.",
                "_server/template_look.py",
                "    timeless = {name: text(each, knows_day=False) for name, each in plain.items()}\n",
                "    timeless = {name: text(each) for name, each in plain.items()}\n",
                (INPUT + "test_50_a_local_template_that_writes_today",),
            ),
            Mutation(
                "The doctor names the argument that sets the date.",
                "_doctor/runner.py",
                "        if state.template.day is not None:\n",
                "        if state.template is None:\n",
                (INPUT + "test_50_a_template_that_writes_today",),
            ),
            Mutation(
                "The day is one of the settings of a file, whose run no other day resumes.",
                "_server/state.py",
                "            prompt_date=self.template.day,\n",
                "            prompt_date=None,\n",
                (INPUT + "test_50_the_day_belongs_to_the_settings_of_a_file",),
            ),
        ),
        "A server whose clock is off by more than a day. Part of a date, unless a local tokenizer "
        "writes it: a weekday, a month with its year, a day without year and weekday, a time. A date "
        "in words of other languages, and one beside further roles or arguments alone.",
    ),
    51: Pitfall(
        "Rewards of two models are compared, although their scales have nothing in common",
        (
            Mutation(
                "Rewards of different models, methods or heads have no order: `<`, `max` and "
                "`sorted` raise `TypeError`.",
                "_base/number_like.py",
                "            self._check_order(other)\n",
                "            pass\n",
                (VALUES + "test_51_rewards_of_unlike_scales_have_no_order",),
            ),
            Mutation(
                "Rewards of two replicas of one model have an order.",
                "_base/results.py",
                '_SCALE = ("model", "method", "method_digest", "head")',
                '_SCALE = ("model", "method", "method_digest", "head", "server_version")',
                (VALUES + "test_51_rewards_of_one_model_have_an_order",),
            ),
        ),
        limit="A comparison of plain floats, such as `key=float`, is the caller's word that the "
        "scales are alike. The name of a model does not tell two checkpoints apart.",
    ),
    52: Pitfall(
        "Tables hand out arrays in the place of lists; each sample is an error then, which a framework "
        "turns into NaN",
        (
            Mutation(
                "The client reads arrays and columns of any library as lists, also inside a sample.",
                "_base/arrays.py",
                'return kind.__module__ != "builtins" and any(',
                'return kind.__module__ == "builtins" and any(',
                (
                    VALUES + "test_52_a_column_of_arrays_is_a_column_of_samples",
                    "base/test_arrays.py::test_columns_of_samples",
                ),
            ),
            Mutation(
                "Of a table, or of rows, the error shows code that scores their samples.",
                "_base/advice.py",
                "    return (questions[0], answers[0]) if len(questions) == len(answers) == 1 else None\n",
                "    return None\n",
                ("base/test_samples.py::test_what_the_advice_writes_can_be_pasted",),
            ),
            Mutation(
                "`rank` returns the texts that it read from a column of responses.",
                "_client/rank_calls.py",
                "    return Group(tuple(read), conversations)\n",
                "    return Group(tuple(responses), conversations)\n",
                (VALUES + "test_52_a_column_of_responses",),
            ),
            Mutation(
                "It reads integers of any library as token IDs, and no truth values.",
                "_base/samples.py",
                "        items = [to_builtin(item) for item in items]\n",
                "        items = [int(item) for item in items]\n",
                (
                    VALUES + "test_52_arrays_of_truth_values_are_no_token_ids",
                    "base/test_arrays.py::test_what_is_refused",
                ),
            ),
        ),
    ),
    53: Pitfall(
        "Roles of other formats (`human`, `gpt`, `User`) and misspelled ones (`assisstant`) reach the "
        "prompt as they stand, since most chat templates check no roles",
        (
            Mutation(
                "The client raises `InputError` with the role to write.",
                "_base/turns.py",
                "        if role in KNOWN_ROLES or role in more:\n",
                "        if role or role in more:\n",
                (
                    VALUES + "test_53_a_role_that_the_model_never_saw",
                    VALUES + "test_53_a_template_that_checks_no_role",
                    "base/test_turns.py::test_a_role_under_another_name",
                ),
            ),
            Mutation(
                "It knows the roles of chat templates, and those of the method.",
                "_base/turns.py",
                "        if role in KNOWN_ROLES or role in more:\n",
                "        if role in KNOWN_ROLES:\n",
                ("base/test_turns.py::test_roles_of_chat_templates",),
            ),
            Mutation(
                "The roles of `Verdict(roles=…)` pass, whether the caller or a recipe names them.",
                "_client/config.py",
                "        return self.method.roles if isinstance(self.method, Verdict) else ()\n",
                "        return ()\n",
                (VALUES + "test_53_roles_of_a_method",),
            ),
        ),
        limit="A role of the results of tools (`ipython`, `observation`) is sent: the template of "
        "the model may know it or not.",
    ),
    54: Pitfall(
        "Errors that a call returns, or that stand in a file, are read by nobody: rewards are missing, "
        "and the cause is unknown",
        (
            Mutation(
                "The client logs one warning a call, with the number of failures of each kind.",
                "_client/streaming.py",
                '        warn_of_failures(self.failures, self._taken, "samples")\n',
                "",
                ("client/test_failures.py::test_one_warning_a_call",),
            ),
            Mutation(
                "So does `score_file`, for rows.",
                "files/runner.py",
                '        warn_of_failures(self.tally.failures, self.tally.rows, "rows")\n',
                "",
                ("client/test_failures.py::test_one_warning_a_file",),
            ),
            Mutation(
                "Each error says whether the sample or the server is at fault.",
                "errors.py",
                '        InputError: "sample",\n',
                '        InputError: "server",\n',
                ("client/test_failures.py::test_a_subclass_of_a_caller_has_that_of_its_parent",),
            ),
            Mutation(
                "A local tokenizer that cannot be loaded is an error of the call, not of each sample.",
                "_client/streaming.py",
                "                isinstance(outcome, TokenizerUnavailableError) or not",
                "                isinstance(outcome, int) or not",
                (
                    "client/test_failures.py::test_a_tokenizer_that_cannot_be_loaded",
                    "client/test_failures.py::test_a_file_without_a_tokenizer",
                ),
            ),
            Mutation(
                "A run into stdout says how many rows were written if stdout takes no further one, and fails.",
                "files/results.py",
                "        except OSError as error:\n            ended",
                "        except ZeroDivisionError as error:\n            ended",
                (COMMANDS + "test_54_a_stream_that_takes_no_further_row",),
            ),
        ),
    ),
    55: Pitfall(
        "Caches, mirrors, registries and mounts name a model in other forms than its hub, so the "
        "client lacks what its recipe knows",
        (
            Mutation(
                "The client recognizes each form of a name.",
                "recipes/loader.py",
                "    for key in keys_in(location):\n",
                '    for key in [model_key(location.rpartition("/")[2])]:\n',
                (MODELS + "test_55_a_model_is_recognized_by_the_name_of_its_folder",),
            ),
            Mutation(
                "It looks up the served name if the root says nothing, and reports that.",
                "_server/identity.py",
                "        return root is None or not (is_hub_id(root) or recipe_of_model(root))\n",
                "        return False\n",
                (
                    MODELS + "test_55_the_served_name_counts_if_the_root_says_nothing",
                    MODELS + "test_55_a_refusal_by_the_served_name_can_be_overridden",
                ),
            ),
            Mutation(
                "A root that names another model wins over the served name.",
                "_server/identity.py",
                "        return root is None or not (is_hub_id(root) or recipe_of_model(root))\n",
                "        return root is None or not recipe_of_model(root)\n",
                (MODELS + "test_55_a_root_that_names_another_model_wins",),
            ),
            Mutation(
                "A folder such as `mnt/models` is no hub ID.",
                "recipes/model_names.py",
                'is not None and not any(map(_NEUTRAL.fullmatch, location.split("/")))',
                "is not None",
                (MODELS + "test_55_a_relative_folder_is_no_hub_id",),
            ),
            Mutation(
                "A known name with words of a quantization after it is a copy.",
                "recipes/model_names.py",
                "    return _QUANTIZATION.fullmatch(end) is not None\n",
                '    return end in ("-fp8", "-awq")\n',
                (MODELS + "test_55_a_copy_goes_on_with_words_of_a_quantization",),
            ),
            Mutation(
                "Among other words it may be another model's, and the client warns of that.",
                "_server/discovery.py",
                "identity.similar_model if recipe is None else None",
                "None",
                (MODELS + "test_55_a_name_that_looks_like_a_known_one_is_a_warning",),
            ),
            Mutation(
                "It finds a known name in any part of the location, with any separators.",
                "recipes/loader.py",
                "if words.search(key)), None)",
                "if words.match(key)), None)",
                (MODELS + "test_55_a_name_that_looks_like_a_known_one_is_a_warning",),
            ),
            Mutation(
                "Digests and aliases of registries belong to no name.",
                "recipes/model_names.py",
                "[0-9a-f]{7,128} | sha\\d+ | md5\n",
                "[0-9a-f]{7,64}\n",
                (MODELS + "test_55_a_model_is_recognized_by_the_name_of_its_folder",),
            ),
        ),
        "A name that lacks words of the known one, or has them in another order.",
    ),
    56: Pitfall(
        "The reward model is an adapter, and the server lists its base model first",
        (
            Mutation(
                "The client raises `ModelNotFoundError`, which names both.",
                "_server/identity.py",
                "    if card is not None and adapters and model is None:\n",
                "    if card is None and adapters and model is None:\n",
                (MODELS + "test_56_a_base_model_is_not_taken_for_its_adapter",),
            ),
            Mutation(
                "It looks for the tokenizer of an adapter in the folder of the base model.",
                "_server/identity.py",
                "tokenizer_root=_root(card if base is None else base)",
                "tokenizer_root=_root(card)",
                (MODELS + "test_56_an_adapter_has_the_tokenizer_of_its_base",),
            ),
        ),
    ),
    57: Pitfall(
        "The recipe is another model's: of another tokenizer, other weights, or another training",
        (
            Mutation(
                "The client compares the IDs of the recipe's special tokens with the server's.",
                "_server/recipe_checks.py",
                "        if tuple(ids) != (token,):\n",
                "        if not ids:\n",
                (MODELS + "test_57_special_tokens_of_another_model",),
            ),
            Mutation(
                "It compares the reward of a published sample: a contradiction is an error, and a "
                "difference that another precision explains a warning.",
                "_server/recipe_checks.py",
                "    if agrees(reference, found):\n",
                "    if found:\n",
                (MODELS + "test_57_the_reward_of_a_published_sample",),
            ),
            Mutation(
                "It warns once of a sample that is longer than those of the model's training.",
                "_tokenization/notices.py",
                "size > rules.trained_tokens",
                "size < 0",
                (MODELS + "test_57_prompts_unlike_those_of_the_training",),
            ),
            Mutation(
                "It warns once of a conversation without the system message of the training.",
                "_server/recipe_checks.py",
                "return None if named == unnamed else system",
                "return None",
                (MODELS + "test_57_prompts_unlike_those_of_the_training",),
            ),
            Mutation(
                "It does not, if the template writes the message itself.",
                "_server/recipe_checks.py",
                "return None if named == unnamed else system",
                "return system",
                (MODELS + "test_57_a_template_may_write_the_system_message",),
            ),
        ),
        limit="A recipe without special tokens and published values says nothing that the server "
        "could contradict.",
    ),
    58: Pitfall(
        "`TokenLogit` and `YesNo` read an ordinary classifier, whose number is no token's logit",
        (
            Mutation(
                "The client wants evidence: the manifest of an export, a recipe with the same "
                "tokens, a generating server, or the caller's word.",
                "_server/discovery.py",
                "    await check_logit_tokens(texts, promised, tokens)\n",
                "",
                (
                    MODELS + "test_58_a_classifier_is_no_logit",
                    MODELS + "test_58_a_recipe_with_the_same_token_is_evidence",
                ),
            ),
        ),
        limit="Whether the word `classifier_from_token=True` is true, no server can show.",
    ),
    59: Pitfall(
        "A reply belongs to another request: a proxy sends one twice, is one reply behind, or caches; only pooled output names its request",
        (
            Mutation(
                "The client asks again, on another connection, for a reply that has answered another request.",
                LEDGER,
                "return self._is_same(owner, asked) or (asked.exact, reply) in self._shared",
                "return self._is_same(owner, asked) or (asked.exact, reply) not in self._shared",
                (
                    BINDING + "test_59_a_reply_to_another_request_is_asked_for_again",
                    BINDING + "test_59_a_cache_from_later_on",
                    BINDING + "test_59_a_cache_from_the_start",
                    BINDING + "test_59_a_reply_that_somebody_else_was_owed",
                ),
            ),
            Mutation(
                "Of a reply with token IDs, they alone count: a gateway may add its own time.",
                BINDER,
                "    return hash(body if tokens == [None, None] else orjson.dumps(tokens))\n",
                "    return hash(body)\n",
                (
                    BINDING + "test_59_a_proxy_that_adds_its_own_time",
                    BINDING + "test_59_the_same_tokens_for_all_texts",
                ),
            ),
            Mutation(
                "Once a request for token IDs has got two different replies, all token IDs must come twice, one prompt after the other.",
                BINDER,
                "            self._mixes_up = True\n",
                "",
                (BINDING + "test_59_a_reply_to_another_request_is_asked_for_again",),
            ),
            Mutation(
                "The token IDs that came once before, and are not scored yet, are asked for again.",
                BINDER,
                "        return is_sure or not self._mixes_up\n",
                "        return True\n",
                (BINDING + "test_59_a_reply_that_is_believed_before_somebody_else_asks_for_it",),
            ),
            Mutation(
                "No reply is believed while another one is in doubt.",
                BINDER,
                "                await self._settled()  # somebody else got a wrong one, so this one may be theirs\n",
                "",
                (BINDING + "test_59_token_ids_alone_that_somebody_else_was_owed",),
            ),
            Mutation(
                "It believes a repeated reply only if a variant of the request gets another one.",
                BINDER,
                "            if isinstance(outcome, Repeat):\n                if request.prepares",
                "            if isinstance(outcome, int):\n                if request.prepares",
                (
                    BINDING + "test_59_a_cache_from_later_on",
                    BINDING + "test_59_a_cache_with_a_part_of_the_body_as_its_key",
                ),
            ),
            Mutation(
                "It varies the messages that differ from those of the other request.",
                BINDER,
                "    places = [turns[turn] for turn in differing if isinstance(contents[turns[turn]], str)]\n",
                "    places = turns[:0]\n",
                (BINDING + "test_59_a_cache_with_a_part_of_the_messages_as_its_key",),
            ),
            Mutation(
                "It varies both ends of a text.",
                BINDER,
                '        for at_end in (True, False) if differing or key != "messages" else (True,):\n',
                "        for at_end in (True,):\n",
                (BINDING + "test_59_a_cache_with_a_part_of_the_messages_as_its_key",),
            ),
            Mutation(
                "It varies a list of token IDs without another length.",
                BINDER,
                "        return _other_ids(items, at_end=at_end)\n",
                "        return [*items, items[0]]\n",
                (BINDING + "test_59_a_cache_of_pooled_output_with_the_length_as_its_key",),
            ),
            Mutation(
                "It asks no second time for texts that differ in outer spaces.",
                LEDGER,
                '{**message, "content": content.strip()} if isinstance',
                '{**message, "content": content} if isinstance',
                (BINDING + "test_59_texts_that_truly_have_the_same_tokens",),
            ),
            Mutation(
                "It asks no second time for texts that differ in thoughts, once the template was seen to drop them.",
                LEDGER,
                "        return self._drops_thoughts and one.spoken == other.spoken\n",
                "        return False\n",
                (BINDING + "test_59_texts_that_share_their_tokens_by_the_template",),
            ),
            Mutation(
                "It believes no reply if a second one follows on the connection.",
                BINDER,
                "if not raw.is_only:",
                "if raw is None:",
                (BINDING + "test_59_two_replies_on_a_connection_tell_nothing",),
            ),
            Mutation(
                "It closes the connection of a wrong reply and of a refusal.",
                CALLER,
                "            await response.drop()  # its next response may be one late\n",
                "            pass\n",
                (BINDING + "test_59_a_refusal_that_comes_twice_refuses_one_sample",),
            ),
            Mutation(
                "At the first contact, two different texts must get different token IDs.",
                "_server/texts.py",
                "    if served.engine.token_ids(first) == other:\n",
                "    if other == ():\n",
                (BINDING + "test_59_the_same_tokens_for_two_texts",),
            ),
        ),
        limit="A proxy that exchanges the replies of two requests in flight, or sends those of other clients, cannot be noticed on `/tokenize`, nor on `/pooling` where a gateway drops the ID: no reply names its request then. Nor can a cache whose key leaves out the middle of a text, or its digits. Where a template drops all turns but the last, samples that differ in the others alone are refused. Use token IDs, a local tokenizer, or a proxy that passes `X-Request-Id` to a server with `--enable-request-id-headers`.",
    ),
    60: Pitfall(
        "A server or a gateway exchanges the rows of a request, and keeps their indices",
        (
            Mutation(
                "At the first contact, the client scores the probes in another order too, and compares.",
                CROSS_CHECK,
                '    _compare(state, *in_full.result(), full.expected, "in another order")\n'
                '    _compare(state, *in_odd.result(), odd.expected, f"among {len(odd.ids)}")\n',
                "",
                (BINDING + "test_60_rows_in_other_places",),
            ),
            Mutation(
                "The other order fills the largest request of the client.",
                CROSS_CHECK,
                "    return max(len(state.probes), state.options.pack_size), 2",
                "    return len(state.probes), 2",
                (BINDING + "test_60_rows_of_large_requests_alone",),
            ),
            Mutation(
                "It scores one probe alone, and compares.",
                CROSS_CHECK,
                "    _compare(state, single, [alone], state.outputs[-1:], manner)\n",
                "",
                (BINDING + "test_60_rows_that_move_on",),
            ),
            Mutation(
                "Other samples of the same lengths stand among the probes.",
                CROSS_CHECK,
                "() if by_text else twins_of(state.probes, state.rules.step)",
                "() if by_text else twins_of(state.probes[:0], state.rules.step)",
                (BINDING + "test_60_rows_of_equal_length",),
            ),
            Mutation(
                "A further request holds an odd number of samples.",
                CROSS_CHECK,
                "2 * len(state.probes) - 1",
                "2 * len(state.probes)",
                (BINDING + "test_60_rows_of_odd_requests",),
            ),
            Mutation(
                "A proof scores up to four samples of the caller again, alone and together, and compares.",
                "_replicas/pool.py",
                "        if contradicted is not None:\n",
                '        if contradicted == "":\n',
                (BINDING + "test_60_rows_of_real_samples_alone",),
            ),
            Mutation(
                "With `method=Messages()`, the reward of a conversation in a batch is compared with that of its token IDs.",
                "_scoring/messages.py",
                "        if isinstance(in_batch, Reward):\n",
                "        if isinstance(in_batch, Reward) and in_batch is None:\n",
                (BINDING + "test_60_rows_of_small_requests_of_conversations",),
            ),
            Mutation(
                "Before the first large request, the conversations of known rewards fill one.",
                "_scoring/messages.py",
                "            await self._prove_full(trial, len(left))\n",
                "            await self._prove_full(trial, 0)\n",
                (BINDING + "test_60_rows_of_large_requests_of_conversations",),
            ),
        ),
        limit="Each proof (pitfall 61) compares the rows of probes again, and those of up to four samples of the caller. Rows that a server exchanges now and then may remain unnoticed.",
    ),
    61: Pitfall(
        "Several models share an address, or another one comes up behind it without a lost connection",
        (
            Mutation(
                "The client scores the probes again at the end of a call with many samples, and each minute.",
                WATCH,
                "        if passed < _INTERVAL and not (at_end and unproven >= _MANY):\n",
                "        if passed < 10 * _INTERVAL + 600:\n",
                (
                    BINDING + "test_61_a_call_ends_with_a_proof",
                    BINDING + "test_61_rewards_before_the_last_proof_are_kept",
                    BINDING + "test_61_a_stream_names_the_results_in_doubt",
                    BINDING + "test_61_a_single_score_after_a_long_time",
                    BINDING + "test_61_a_file_keeps_what_is_proven",
                ),
            ),
            Mutation(
                "It tokenizes fixed conversations again, too: another chat template shows, be it for a "
                "system message or tools alone.",
                "_server/template_look.py",
                "    if before.digest is None:\n",
                "    if before.digest:\n",
                (BINDING + "test_61_a_swap_of_templates",),
            ),
            Mutation(
                "It scores up to four samples of the caller again: a router may choose a server by content.",
                "_replicas/pool.py",
                "        if contradicted is not None:\n",
                '        if contradicted == "":\n',
                (BINDING + "test_61_a_router_by_content",),
            ),
            Mutation(
                "It calls another value of a sample of the caller a contradiction only if the other samples of a batch do not explain it: beyond a twentieth of the range of rewards.",
                AGREEMENT,
                "_SHARE = 0.05\n",
                "_SHARE = 0.0\n",
                (
                    BINDING + "test_61_other_samples_of_a_batch_move_a_reward",
                    MEMORY + "test_another_value_than_rounding_explains",
                ),
            ),
            Mutation(
                "The range includes the rewards of the probes.",
                AGREEMENT,
                "(*_probes(state), *scores)",
                "(*scores,)",
                (MEMORY + "test_samples_of_nearly_equal_rewards_are_rounded_no_less",),
            ),
            Mutation(
                "A sample that fails when it is scored again proves nothing, and is no error.",
                CROSS_CHECK,
                "    except (RewardClientError, TimeoutError):\n",
                "    except TimeoutError:\n",
                (BINDING + "test_61_a_sample_that_fails_when_it_is_scored_again",),
            ),
            Mutation(
                "Few tokens are scored again.",
                "_server/memory.py",
                "is_known and left >= 0",
                "is_known",
                (MEMORY + "test_few_tokens_are_scored_again",),
            ),
            Mutation(
                "A proof whose response names another model is an error too.",
                "_replicas/pool.py",
                '            changed = "a response names another model"\n',
                "            changed = None\n",
                (BINDING + "test_61_a_proof_that_names_another_model",),
            ),
            Mutation(
                "It returns no reward that came after a failed proof.",
                WATCH,
                "            self.failure = error\n            raise _with_doubt",
                "            raise _with_doubt",
                (BINDING + "test_61_no_reward_that_came_during_a_failed_proof",),
            ),
            Mutation(
                "The error names the rewards in doubt: of the call, and of earlier calls.",
                WATCH,
                "    if earlier:\n",
                "    if earlier < 0:\n",
                (
                    BINDING + "test_61_an_error_names_the_rewards_of_earlier_calls",
                    BINDING + "test_61_proven_rewards_of_earlier_calls_are_not_in_doubt",
                ),
            ),
            Mutation(
                "It scores the probes again before the first request after a silence.",
                "_replicas/monitor.py",
                "        return await scores_as_before(self._transport, state)",
                "        return True",
                (INTEGRATED + "test_83_another_model_behind_the_url_stops_the_next_step",),
            ),
            Mutation(
                "It does so, too, once all connections from before the last proof are closed.",
                "_replicas/monitor.py",
                "        return is_silent or not self._transport.is_connected_since(self._verified_at)",
                "        return is_silent",
                (INTEGRATED + "test_83_another_model_behind_the_url_stops_the_next_step",),
            ),
            Mutation(
                "It gives no rewards of two models in one call.",
                WATCH,
                "        elif changes != self._changes and self.failure is None:\n",
                "        elif changes < 0:\n",
                (BINDING + "test_61_a_model_that_comes_up_in_the_middle",),
            ),
            Mutation(
                "It removes the rows in doubt from a file.",
                "files/results.py",
                "            os.ftruncate(self._descriptor, sum(map(len, islice(file, row))))\n",
                "            sum(map(len, islice(file, row)))\n",
                (BINDING + "test_61_a_file_keeps_what_is_proven",),
            ),
        ),
        limit="Between two proofs, another model may answer and be gone again. Nearly equal checkpoints (all probes within 2 % of each other, or within 5 % of their range) cannot be distinguished from rounding. A router that always sends the same sample to the same one of two unlike servers, in whatever request, shows no client two values of a sample. A model that answers few of the requests is seen by chance alone. Samples of the caller are compared only at a proof: after 256 rewards, or a minute. A gateway that keeps its connections to the client, and replaces the server behind them, is seen by a proof alone.",
    ),
    62: Pitfall(
        "Unlike servers share one address: a balancer over two models, or a rolling update",
        (
            Mutation(
                "The doctor asks for the served model, and scores the same samples, on eight "
                "connections at once.",
                "_doctor/address_check.py",
                "        unlike += not is_same(scores, state.scores, tolerance)\n",
                "",
                (MODELS + "test_62_unlike_servers_behind_one_address",),
            ),
        ),
        limit="A server that answers seldom, or is added later, is not seen.",
    ),
    63: Pitfall(
        "A gateway lists its own routes in `/openapi.json`, or those of another server, and forwards others",
        (
            Mutation(
                "The client believes no list: it asks the listed routes first, and then the others.",
                NEGOTIATION,
                "    return sorted(known, key=lambda each: each.request.path not in listed)\n",
                "    return [each for each in known if each.request.path in listed]\n",
                (
                    GATEWAYS + "test_63_the_own_list_of_a_gateway_hides_no_route",
                    GATEWAYS + "test_63_the_list_of_another_server_hides_no_route",
                ),
            ),
            Mutation(
                "It asks a route once that does not exist, so that a wrong server is refused soon.",
                NEGOTIATION,
                "if error.server_message == _OF_FASTAPI:",
                'if error.server_message == "":',
                (GATEWAYS + "test_63_a_server_without_the_route_is_refused_soon",),
            ),
        ),
    ),
    64: Pitfall(
        "A gateway forwards only some routes, or serves them at other paths, and the advice is to restart vLLM",
        (
            Mutation(
                "The client tries the other routes with the same output, and the paths at which gateways "
                "serve them.",
                NEGOTIATION,
                "    for strategy in chain(strategies, others):\n",
                "    for strategy in strategies:\n",
                (GATEWAYS + "test_64_the_rewards_that_the_table_promises",),
            ),
            Mutation(
                "It scores token IDs, and those of a local tokenizer, without `/tokenize`.",
                "_server/texts.py",
                "        if not may_hide_route(error):\n            raise\n        return error",
                "        raise",
                (
                    GATEWAYS + "test_64_the_rewards_that_the_table_promises",
                    GATEWAYS + "test_64_a_hidden_tokenizer_is_named",
                ),
            ),
            Mutation(
                "A route is hidden by whatever answer, if rewards do not need it.",
                "_server/optional_requests.py",
                "    except RewardClientError as error:\n        return error\n",
                "    except RouteNotFoundError as error:\n        return error\n",
                (GATEWAYS + "test_64_a_route_that_rewards_do_not_need_is_hidden",),
            ),
            Mutation(
                "A failure of the moment hides it only if the server answers elsewhere meanwhile.",
                "_server/optional_requests.py",
                "_ATTEMPTS = 3\n",
                "_ATTEMPTS = 1\n",
                (GATEWAYS + "test_64_a_failure_of_the_moment_hides_no_route",),
            ),
            Mutation(
                "A route that refuses the key, redirects or sends a page may be hidden, and the client tries "
                "the others.",
                NEGOTIATION,
                "            refused = refused or error\n            absent.add(request.path)\n            continue\n",
                "            raise\n",
                (
                    GATEWAYS + "test_64_a_hidden_route_that_answers_otherwise_than_404",
                    GATEWAYS + "test_64_a_key_that_every_route_refuses",
                ),
            ),
            Mutation(
                "It compares a local tokenizer with the server by the value of a conversation.",
                "_server/proof.py",
                "        raise _other_tokenizer(tokenizer, str(error)) from None\n",
                "        return True\n",
                (GATEWAYS + "test_64_a_tokenizer_of_another_model_is_found_out",),
            ),
            Mutation(
                "Its advice names what the gateway hides.",
                NEGOTIATION,
                "    if hidden:\n",
                "    if not hidden:\n",
                (GATEWAYS + "test_64_advice_names_the_gateway_and_no_flag_of_the_server",),
            ),
            Mutation(
                "It takes the caller's word for the model if the gateway hides `/v1/models`.",
                IDENTITY,
                "        if model is None or _route_in(transport.url) is not None:\n",
                "        if _route_in(transport.url) is not None:\n",
                (GATEWAYS + "test_64_a_hidden_list_of_models_asks_for_the_name",),
            ),
            Mutation(
                "Its errors say what `/tokenize` answers: a key may be expired, or a header missing.",
                "_server/texts.py",
                '    return f"/tokenize answers',
                '    return "" and f"/tokenize answers',
                (GATEWAYS + "test_64_the_refusal_of_a_hidden_tokenizer_is_told",),
            ),
        ),
        limit="Without `/tokenize` and without messages nothing proves a local tokenizer; a warning says so.",
    ),
    65: Pitfall(
        "A gateway sends a bare 500 for each refusal: one sample fails its neighbours, and per-token models "
        "cannot be found out",
        (
            Mutation(
                "The client finds out by a right and a wrong request that refusals are hidden.",
                REFUSALS,
                "            self._hides = _is_hidden(await self._send(_wrong(request)))\n",
                "            self._hides = False\n",
                (
                    GATEWAYS + "test_65_one_refused_sample_fails_alone",
                    GATEWAYS + "test_65_discovery_goes_on_after_a_hidden_refusal",
                ),
            ),
            Mutation(
                "Discovery asks other routes after a refusal, and tells the first one if none gives a reward.",
                NEGOTIATION,
                "            if error.status < _SERVER_FAILURE and not is_other:\n                bad = bad or error\n",
                "            if error.status < _SERVER_FAILURE and not is_other:\n                raise\n",
                (GATEWAYS + "test_65_discovery_goes_on_after_a_hidden_refusal",),
            ),
            Mutation(
                "It repeats the request when the server answers others, so that a failure is no refusal.",
                CALLER,
                "        again = await self._send()\n        if _is_of_connection(again):",
                "        again = failure\n        if _is_of_connection(again):",
                (GATEWAYS + "test_65_a_failure_of_the_server_is_no_refusal",),
            ),
            Mutation(
                "It reads flat errors.",
                STATUSES,
                'elif fields.get("object") != "error" and not failed:',
                'elif fields.get("object") != "error":',
                (GATEWAYS + "test_65_the_words_of_a_flat_error_are_told",),
            ),
        ),
        limit="A gateway that sends 503 or 504 for each refusal cannot be told from a server that is away: the client waits for it, up to the budget.",
    ),
    66: Pitfall(
        "A busy server is told by other statuses and words than 429 and 503, and samples fail at once",
        (
            Mutation(
                "The client reads busy in the type and the message of an error, and in `Retry-After`.",
                STATUSES,
                "    if status in _BUSY or wait is not None or any(map(_BUSY_TYPE.search, error.kinds)):\n",
                "    if status in _BUSY:\n",
                (GATEWAYS + "test_66_busy_in_any_words_is_retried",),
            ),
            Mutation(
                "Such an error blames the server, not the sample.",
                STATUSES,
                "    if status in _BUSY or (busy and status < 500):\n",
                "    if status in _BUSY:\n",
                (GATEWAYS + "test_66_busy_to_the_end_is_not_the_sample",),
            ),
            Mutation(
                "It reads the kind of an error where gateways of other families write it.",
                STATUSES,
                '_KIND_KEYS = ("type", "__type", "code", "status", "reason", "error")',
                '_KIND_KEYS = ("type",)',
                (GATEWAYS + "test_66_busy_in_any_words_is_retried",),
            ),
            Mutation(
                "A sentence is no kind: it may quote the sample.",
                STATUSES,
                "if isinstance(each, str) and _KIND.fullmatch(each))",
                "if isinstance(each, str))",
                (GATEWAYS + "test_66_words_of_a_sample_are_no_busy_server",),
            ),
            Mutation(
                "The words of a sample in a 400 do not count.",
                STATUSES,
                "    return status not in _QUOTING and bool(_BUSY_MESSAGE.search(error.message))\n",
                "    return bool(_BUSY_MESSAGE.search(error.message))\n",
                (GATEWAYS + "test_66_words_of_a_sample_are_no_busy_server",),
            ),
        ),
    ),
    67: Pitfall(
        "A gateway drops `usage`, the count of tokens that shows a cut sample",
        (
            Mutation(
                "The client scores without the count if it is missing from the first response on.",
                NEGOTIATION,
                "request = replace(request, counted=False)",
                "request = replace(request, counted=True)",
                (GATEWAYS + "test_67_a_missing_count_is_not_a_cut_sample",),
            ),
            Mutation(
                "A count of zero is a missing count.",
                "_protocols/response_checks.py",
                "    if counted is None or (counted == 0 and 0 not in tokens):",
                "    if counted is None:",
                (GATEWAYS + "test_67_a_count_of_zero_is_a_missing_count",),
            ),
            Mutation(
                "A count that is written as text is a count.",
                "_protocols/response_checks.py",
                "        counted = int(counted[:_DIGITS])",
                "        pass",
                (GATEWAYS + "test_67_a_count_as_text_is_a_count",),
            ),
            Mutation(
                "It shows first that each end of a sample counts.",
                DISCOVERY,
                "        await prove_ends(transport, promised)\n",
                "        pass\n",
                (GATEWAYS + "test_67_a_gateway_that_cuts_samples_and_hides_it",),
            ),
        ),
        limit="A gateway that drops the count and cuts long samples alone is not seen; a warning says so.",
    ),
    68: Pitfall(
        "A proxy of the environment gets the requests to this machine, or refuses them, and no error names it",
        (
            Mutation(
                "No proxy of the environment applies to this machine.",
                PROXIES,
                "is_loopback(parts.hostname) or ",
                "",
                (TLS_AND_PROXIES + "test_68_no_proxy_reaches_this_machine",),
            ),
            Mutation(
                "That holds for the connections behind an OpenAI client too.",
                "_transport/backends/openai.py",
                "    if not is_loopback(host):\n",
                "    if host:\n",
                ("integration/faults/test_openai.py::test_68_no_proxy_reaches_this_machine",),
            ),
            Mutation(
                "Errors and the doctor name the proxy, without its password.",
                "_transport/backends/aiohttp.py",
                "        self.proxy = found.shown if found else None\n",
                "        self.proxy = None\n",
                (
                    TLS_AND_PROXIES + "test_68_an_error_names_the_proxy_without_its_password",
                    TLS_AND_PROXIES + "test_68_an_unreachable_proxy_is_named",
                    TLS_AND_PROXIES + "test_68_the_doctor_names_the_proxy",
                ),
            ),
            Mutation(
                "They name that of an OpenAI client too.",
                "_transport/backends/openai.py",
                "else _proxy_of(client, base_url)",
                "else None",
                (
                    "integration/faults/test_openai.py::test_68_the_proxy_of_a_callers_client_is_named",
                ),
            ),
        ),
        limit="A transport that the caller brings may have a proxy, and does not say so. The proxies of an "
        "`AsyncOpenAI` of the caller apply to this machine too.",
    ),
    69: Pitfall(
        "The address is wrong by a little, or one option is, and the advice leads elsewhere",
        (
            Mutation(
                "The client finds out that the port speaks TLS.",
                "_transport/scheme.py",
                "        if await _speaks_tls(self._base_url):\n",
                "        if False:\n",
                (TLS_AND_PROXIES + "test_69_plain_http_to_a_tls_port",),
            ),
            Mutation(
                "It reads the words of TLS ports that answer.",
                STATUSES,
                "    if _PLAIN_TO_TLS.search(error.message):\n",
                "    if not error.message:\n",
                (TLS_AND_PROXIES + "test_69_a_tls_port_that_answers_plain_http",),
            ),
            Mutation(
                "It names a route at the end of `base_url`.",
                IDENTITY,
                "    return next((route for route in _ROUTES if url.endswith(route)), None)\n",
                "    return None\n",
                (GATEWAYS + "test_69_a_base_url_that_ends_with_a_route",),
            ),
            Mutation(
                "It says that only the route of `route=` gives no reward.",
                NEGOTIATION,
                '    if wanted.route != "auto":\n        return (',
                '    if wanted.route == "":\n        return (',
                (GATEWAYS + "test_69_a_route_that_the_caller_named_fails_alone",),
            ),
            Mutation(
                "It names the way to a Unix socket.",
                "_client/base_url.py",
                'if "unix" in parts.scheme or',
                'if "none" in parts.scheme and',
                (GATEWAYS + "test_69_a_unix_socket",),
            ),
            Mutation(
                "The frames of a failed discovery are no part of the traceback.",
                "_replicas/pool.py",
                "raise error.with_traceback(None) if isinstance(error, RewardClientError) else error",
                "raise error",
                (GATEWAYS + "test_69_the_frames_of_a_failed_connection",),
            ),
            Mutation(
                "It does so over transports and OpenAI clients of the caller, too.",
                "_transport/backends/httpx.py",
                "            await self._scheme.check(error)\n",
                "            pass\n",
                (TLS_AND_PROXIES + "test_69_plain_http_to_a_tls_port_by_any_carrier",),
            ),
            Mutation(
                "It knows the words of OpenSSL in the errors of other libraries.",
                "_transport/network_errors.py",
                "if kind in _HIDES_OPENSSL and _OF_OPENSSL in text:",
                "if kind is None:",
                (TLS_AND_PROXIES + "test_69_tls_to_a_plain_port_by_any_carrier",),
            ),
            Mutation(
                "It knows an alert of TLS.",
                "_transport/network_errors.py",
                "if kind is NetworkErrorKind.NOT_HTTP and _TLS_ALERT in text:",
                "if kind is None:",
                (TLS_AND_PROXIES + "test_69_an_alert_of_tls",),
            ),
        ),
    ),
    70: Pitfall(
        "Frameworks call `asyncio.run` at each step, and a client that knows nothing of the last "
        "event loop examines the server each time: 25 requests for one sample",
        (
            Mutation(
                "A new event loop continues with what the last one knew.",
                CORE,
                "                link.take_over(self._earlier)\n",
                "                pass\n",
                (LOOPS + "test_a_hundred_event_loops_find_the_server_out_once",),
            ),
            Mutation(
                "So do the spot checks.",
                "_tokenization/spot_checks.py",
                "        self._agreed.update(earlier._agreed)\n",
                "        self._agreed.clear()\n",
                (LOOPS + "test_a_hundred_messages_are_spot_checked_as_in_one_loop",),
            ),
            Mutation(
                "So do the replicas that are out of rotation.",
                "_replicas/pool.py",
                "        self._in_rotation = [twins[one] for one in earlier._in_rotation]\n",
                "        self._in_rotation = list(self.replicas)\n",
                (LOOPS + "test_a_replica_that_is_left_out_stays_left_out",),
            ),
            Mutation(
                "The connections close before their event loop does, in order.",
                CORE,
                "            await anext(link.ending)  # the loop notes it\n",
                "",
                (LOOPS + "test_connections_close_before_their_loop",),
            ),
            Mutation(
                "Sockets of a loop that was closed by hand close without a warning.",
                "_transport/connections.py",
                "                    end(None)\n",
                "                    pass\n",
                (LOOPS + "test_an_unclosed_client_is_quiet",),
            ),
        ),
    ),
    71: Pitfall(
        "A pool of processes unpickles a client for each task, and each examines the server",
        (
            Mutation(
                "Clients of equal options share connections, limits and knowledge in a process.",
                CORE,
                "core.config == config",
                "core.config is config",
                (SHARING + "test_a_hundred_unpickled_clients_cost_one_discovery",),
            ),
            Mutation(
                "A forgotten client leaves them to the next one for some seconds.",
                CORE,
                "LINGER_SECONDS = RESTART_SECONDS\n",
                "LINGER_SECONDS = 0.0\n",
                (SHARING + "test_a_hundred_unpickled_clients_cost_one_discovery",),
            ),
            Mutation(
                "Clients with other proxies in the environment share nothing.",
                CORE,
                "around == surroundings",
                "around is not None",
                (SHARING + "test_another_proxy_in_the_environment",),
            ),
            Mutation(
                "A client that closes leaves the connections to its equals.",
                CORE,
                "        if core.clients:\n            return False\n",
                "",
                (SHARING + "test_a_closed_client_stays_closed_while_its_equal_works",),
            ),
            Mutation(
                "It ends its own calls.",
                "_client/session.py",
                "                deadline.reschedule(loop.time())\n",
                "                pass\n",
                (SHARING + "test_closing_ends_only_the_calls_of_the_client",),
            ),
        ),
    ),
    72: Pitfall(
        "Another server comes up while no event loop of the client runs",
        (
            Mutation(
                "The time since the last response counts over event loops.",
                "_replicas/monitor.py",
                "        self._last_response = earlier._last_response\n",
                "        self._last_response = time.monotonic()\n",
                (LOOPS + "test_another_server_after_a_pause_between_loops",),
            ),
            Mutation(
                "A lost connection counts in the next event loop.",
                CALLER,
                "        self.lost_at = earlier.lost_at\n",
                "",
                (LOOPS + "test_a_loss_at_the_end_of_a_loop_counts_in_the_next_one",),
            ),
        ),
        "What comes up within 4 s of the last response is taken for the same server: no vLLM "
        "starts as quickly.",
    ),
    73: Pitfall(
        "An error that every row of a file meets is found after hours, at the end of the run",
        (
            Mutation(
                "A run ends with the reason if its first 100 rows fail alike.",
                "files/repetition.py",
                "if self._count == rows == _FIRST:",
                "if self._count == rows == 0:",
                (
                    "files/test_repetition.py::test_73_errors_of_every_row_end_the_run",
                    "files/test_repetition.py::test_73_the_same_command_scores_the_remaining_rows",
                ),
            ),
            Mutation(
                "It ends if 10,000 rows in succession fail alike by a fault of the server.",
                "files/repetition.py",
                'if self._count == _LATER and fault_of(self._type) == "server":',
                'if self._count == 0 and fault_of(self._type) == "server":',
                ("files/test_repetition.py::test_73_a_server_that_fails_for_good",),
            ),
            Mutation(
                "A row with some rewards is no failure of that kind.",
                "files/repetition.py",
                "if first is None or None in errors:",
                "if first is None:",
                ("files/test_repetition.py::test_73_a_row_with_a_reward_does_not",),
            ),
        ),
    ),
    74: Pitfall(
        "A server accepts longer conversations than the model was trained on, since the command "
        "that started it sets no limit; their rewards mean nothing",
        (
            Mutation(
                "The commands of a recipe end with the length of the model's training.",
                "recipes/schema.py",
                'f" --max-model-len {length}" if length is not None else ""',
                'f" --max-model-len {length}" if length is None and length else ""',
                (CATALOGUE + "test_74_commands_serve_no_more_tokens_than_were_trained_on",),
            ),
        ),
    ),
    75: Pitfall(
        "The text that a judge was paid for is lost with its failed row, so nobody can read the "
        "verdict",
        (
            Mutation(
                "The row of a failed text holds the text.",
                "_rows/errors.py",
                "if isinstance(error, GenerationError) else {}",
                "if isinstance(error, str) else {}",
                ("files/test_reasons.py::test_the_text_of_a_judge_without_a_verdict",),
            ),
        ),
    ),
    76: Pitfall(
        "A row of a data set is scored as another conversation than its columns mean, or a column "
        "of its data is overwritten",
        (
            Mutation(
                "The client refuses a row with two forms, and says which.",
                "_rows/forms.py",
                "    if len(found) != 1:\n",
                "    if not found:\n",
                ("rows/test_forms.py::test_76_what_a_row_cannot_mean",),
            ),
            Mutation(
                "A prompt beside messages must be a copy of them.",
                "_rows/readers.py",
                "        if not is_copy(fields, prompt, turns):\n",
                "        if not prompt:\n",
                ("rows/test_forms.py::test_76_what_a_row_cannot_mean",),
            ),
            Mutation(
                "It refuses a row with a column of the name of an added one.",
                "_rows/results.py",
                "    taken = [name for name in added if name in {*names}]\n",
                "    taken: list[str] = []\n",
                (
                    "rows/test_score_rows.py::test_what_is_refused_at_once",
                    "files/test_formats.py::test_a_column_of_an_added_name_is_refused",
                ),
            ),
        ),
        "A column that no list of names knows is not read. The summary of a file names it.",
    ),
    77: Pitfall(
        "The cache of `datasets` gives the rewards of an earlier model, since a client looks the "
        "same whatever model is behind its URL",
        (
            Mutation(
                "The fingerprint of `add_rewards` holds all that the rewards depend on.",
                "integrations/datasets.py",
                "_fingerprint(data, model, form, columns)",
                "_fingerprint(data, form, columns)",
                ("integrations/test_datasets.py::test_77_the_cache_is_of_one_model",),
            ),
            Mutation(
                "A failure by a fault of the server is raised, and no cache holds it.",
                "integrations/datasets.py",
                'error.fault == "server"',
                'error.fault == ""',
                ("integrations/test_datasets.py::test_77_failures_of_the_server_are_not_cached",),
            ),
        ),
        "A `map` of your own with a client has no such fingerprint.",
    ),
    78: Pitfall(
        "A file in a format with typed columns holds the rewards of other rows, or loses rewards "
        "that do not fit its column",
        (
            Mutation(
                "The output is not written if the input has changed since the run began.",
                "files/outputs/assembly.py",
                "        if _state_of(self._source) != self._state:\n",
                "        if not self._state:\n",
                ("files/test_formats.py::test_78_an_input_that_changes_meanwhile",),
            ),
            Mutation(
                "A row whose rewards do not fit the column of those before it is not scored.",
                "files/rows.py",
                "                self.layout.check(read.layout)\n",
                "                pass\n",
                ("files/test_formats.py::test_78_rows_of_two_layouts",),
            ),
            Mutation(
                "It writes over no file that an earlier run did not write.",
                "files/runner.py",
                "    if output.is_assembled and exists and not os.path.lexists(output.results):\n",
                "    if output.is_assembled and not exists:\n",
                ("files/test_formats.py::test_78_what_is_there_is_not_overwritten",),
            ),
        ),
    ),
    79: Pitfall(
        "A benchmark's score rises, since the rows that failed are left out",
        (
            Mutation(
                "The client refuses to compute the score, and says why the rows failed.",
                "evaluation/runner.py",
                "    counted.refuse_failed(allow_failed=allow_failed)\n",
                "    counted.refuse_failed(allow_failed=True)\n",
                ("evaluation/test_rows.py::test_79_failed_rows_are_refused",),
            ),
        ),
    ),
    80: Pitfall(
        "Markup in the data runs in the report",
        (
            Mutation(
                "All texts of the data are escaped.",
                "_pages/page.py",
                r"""    return escape(printable(re.sub(r"\r\n?", "\n", text)))
""",
                "    return printable(text)\n",
                ("report/test_page.py::test_80_texts_stay_texts",),
            ),
        ),
    ),
    81: Pitfall(
        "In training, a number that trains stands for a reward that a fault of the server leaves out",
        (
            Mutation(
                "The integrations wait for the server, and then raise its error.",
                "_integrations/outcomes.py",
                "    raise_faults_of_the_server(errors)\n",
                "",
                (INTEGRATED + "test_81_a_fault_of_the_server_raises",),
            ),
            Mutation(
                "AReaL gets no `TimeoutError`, of which it makes 0.",
                "integrations/areal.py",
                "    except RewardTimeoutError as error:\n",
                "    except ZeroDivisionError as error:\n",
                ("integrations/test_areal.py::test_81_no_error_is_a_time_out",),
            ),
            Mutation(
                "TRL gets no None beside other functions, which it counts as 0.",
                "integrations/trl.py",
                "        if _adds_up(log_metric) or _is_old():\n",
                "        if _is_old():\n",
                ("integrations/test_trl.py::test_81_none_is_no_zero_of_several_functions",),
            ),
            Mutation(
                "Versions of TRL that count None as 0 get none.",
                "integrations/trl.py",
                "        if _adds_up(log_metric) or _is_old():\n",
                "        if _adds_up(log_metric):\n",
                ("integrations/test_trl.py::test_81_none_is_no_zero_of_an_old_version",),
            ),
            Mutation(
                "ms-swift gets no None, which it counts as 0.",
                "integrations/ms_swift/__init__.py",
                "return refuse_failures(score(self._options, rollouts))",
                "return score(self._options, rollouts).values",
                ("integrations/test_ms_swift.py::test_81_a_failing_sample_stops_the_training",),
            ),
        ),
        "AReaL gives 0 for a reward that waits longer than 15 s for a free process. "
        "`RewardWorkflow` needs none.",
    ),
    82: Pitfall(
        "A policy's chat template, turns that it invents or its reasoning are scored as the words "
        "of an answer",
        (
            Mutation(
                "A prompt with control tokens is refused without the tokenizer of the policy.",
                "_integrations/policy_text.py",
                "    if token is not None:\n",
                "    if token == 0:\n",
                (POLICY_TEXT + "test_82_a_prompt_in_a_template_is_not_taken_for_the_users_words",),
            ),
            Mutation(
                "An answer with further turns is an error.",
                "_integrations/policy_text.py",
                "        if [*conversation.messages[:-1]] != [*opening.messages]:\n",
                "        if not conversation.messages:\n",
                (POLICY_TEXT + "test_82_turns_that_the_policy_invents_are_no_turns",),
            ),
            Mutation(
                'A prompt without an answer is an error, even with `on_unanswered="allow"`.',
                "_integrations/policy_text.py",
                "    if not replies:\n",
                "    if replies == 0:\n",
                (POLICY_TEXT + "test_82_a_conversation_without_an_answer",),
            ),
            Mutation(
                "Reasoning that does not end is an error.",
                "_integrations/reasoning.py",
                "    if inside is not None:\n",
                "    if inside == 0:\n",
                ("integrations/test_reasoning.py::test_82_what_is_no_answer",),
            ),
        ),
        "Messages do not show if the chat template opens the reasoning. `policy_tokenizer=` does.",
    ),
    83: Pitfall(
        "The scale of the rewards changes within a training run, since another model answers",
        (
            Mutation(
                "An integration compares the model of each batch with that of its first one.",
                "_integrations/clients.py",
                "_model_of(options).check(known_settings(client))",
                "known_settings(client)",
                (INTEGRATED + "test_83_another_model_behind_the_url_stops_the_run",),
            ),
        ),
        "Each process compares for itself.",
    ),
    84: Pitfall(
        "A misspelt variable of the environment leaves an option as it is by default",
        (
            Mutation(
                "An integration refuses a variable that nearly has the name of an option.",
                "_integrations/environment.py",
                "    _check_spelling(given)\n",
                "",
                ("integrations/test_environment.py::test_84_a_misspelt_variable_is_an_error",),
            ),
            Mutation(
                "The same for a variable whose prefix is misspelt.",
                "_integrations/environment.py",
                "    _check_prefix(written)\n",
                "",
                ("integrations/test_environment.py::test_84_a_misspelt_prefix_is_an_error",),
            ),
        ),
    ),
    85: Pitfall(
        "SGLang 0.5.13 to 0.5.22 makes a user's turn of the last answer, and so does 0.5.23 without "
        "`add_generation_prompt`; older versions render no conversation; routes that take "
        "conversations do the same in all versions",
        (
            Mutation(
                "The version table knows which versions render rightly; for the others the client "
                "renders the template itself, or refuses.",
                SGLANG_VERSIONS,
                '    renders="questions",\n',
                '    renders="all",\n',
                (SGLANG + "test_85_the_reward_is_that_of_the_answer",),
            ),
            Mutation(
                "The client sends `add_generation_prompt` with each conversation.",
                "_protocols/sglang/tokenize.py",
                '        "add_generation_prompt": generation_prompt or continues,\n',
                "",
                (SGLANG + "test_85_the_request_says_that_no_turn_follows",),
            ),
            Mutation(
                "At first contact, an answer and a question must get other token IDs.",
                PROVING,
                "        await _refuse_rewritten(transport, served)\n",
                "        pass\n",
                (SGLANG + "test_85_a_version_that_hides_is_found_out",),
            ),
            Mutation(
                "A template on the client is compared with the server's by conversations that end "
                "with a question.",
                PROVING,
                "    if here == there:\n        return True\n",
                "    return True\n",
                (SGLANG + "test_85_another_template_on_the_client_is_found_out",),
            ),
            Mutation(
                "Some of them have a system message, an answer within, or spaces around contents.",
                "_server/template_look.py",
                "    return asked\n",
                "    return {'question': asked['question']}\n",
                (SGLANG + "test_85_a_template_that_differs_in_one_turn_is_found_out",),
            ),
            Mutation(
                "Those that the server's template refuses are left out.",
                PROVING,
                "    except BadRequestError:\n        return False\n",
                "    except ZeroDivisionError:\n        return False\n",
                (SGLANG + "test_85_what_the_template_of_the_server_refuses_is_not_compared",),
            ),
            Mutation(
                "It warns if the server renders nothing to compare.",
                PROVING,
                "    if texts and not is_compared:\n",
                "    if False:\n",
                (SGLANG + "test_85_without_a_proof_there_is_a_warning",),
            ),
            Mutation(
                "So does it without `/tokenize`.",
                DISCOVERY,
                "        elif not (promised.strategy.conversations or promised.request).takes_messages:\n",
                "        elif False:\n",
                (SGLANG + "test_85_without_a_proof_there_is_a_warning",),
            ),
            Mutation(
                "A broken template on the client is no fault of a sample.",
                "_tokenization/local_tokenizer.py",
                'if type(error).__name__ == "TemplateSyntaxError":',
                "if False:",
                (SGLANG + "test_85_without_a_template_on_the_client_all_else_is_scored",),
            ),
            Mutation(
                'By "auto", the client goes on without a tokenizer that cannot be loaded.',
                DISCOVERY,
                '        if options.choice != "auto":\n            raise\n',
                "        raise\n",
                (SGLANG + "test_85_auto_goes_on_without_a_tokenizer",),
            ),
            Mutation(
                "Where there is no `/tokenize`, one text is scored as text and by the client's token "
                "IDs.",
                PROVING,
                "    if request.reads_tokens or (request.takes_messages and not is_plain):\n",
                "    if request.reads_tokens or not request.takes_messages:\n",
                (SGLANG + "test_85_another_tokenizer_is_found_out",),
            ),
            Mutation(
                "No conversation goes to a route that scores.",
                "_protocols/sglang/scoring_request.py",
                '        """See `ScoringRequest`. They get a generation prompt, and texts another BOS token."""\n'
                "        return False\n",
                "        return True\n",
                (SGLANG + "test_85_no_conversation_is_sent_to_be_scored",),
            ),
            Mutation(
                "Tools and their calls, to which the server adds keys, are refused.",
                "_protocols/sglang/tokenize.py",
                "if conversation.tools or any(_CALLS & message.keys() for message in conversation.messages):",
                "if False:",
                (SGLANG + "test_85_tools_are_not_sent",),
            ),
            Mutation(
                "A conversation that nobody renders is an error in its place, and the others are scored.",
                "_client/streaming.py",
                "isinstance(outcome, TokenizerUnavailableError)",
                "isinstance(outcome, RewardClientError)",
                (SGLANG + "test_85_without_a_template_the_other_samples_are_scored",),
            ),
            Mutation(
                "Replicas of which one renders none are compared by token IDs.",
                "_replicas/comparison.py",
                "        except TemplateUnavailableError:  # it scores token IDs nevertheless\n",
                "        except ZeroDivisionError:\n",
                (SGLANG + "test_85_replicas_without_a_template_refuse_conversations_alike",),
            ),
            Mutation(
                "A vLLM among its replicas scores none either: the outcome is the same each time.",
                "_tokenization/tokenizer.py",
                "    if rules.others and isinstance(prompt, Conversation):\n",
                "    if False:\n",
                (SGLANG + "test_85_replicas_of_two_engines_refuse_alike",),
            ),
        ),
        "Between 0.5.4 and 0.5.12, and before, nothing shows the server's template: the client warns. "
        "From 0.5.13 to 0.5.22 nothing shows how it writes the last answer.",
    ),
    86: Pitfall(
        "SGLang's `/v1/classify` answers 1.0 to every sample, and a softmax over several labels",
        (
            Mutation(
                "The client asks `/classify`, whose values are raw.",
                "_protocols/sglang/scoring_request.py",
                '    "classify": _Route("/classify"),\n',
                '    "classify": _Route("/v1/classify"),\n',
                (
                    SGLANG + "test_86_the_route_of_openai_is_not_asked",
                    SGLANG + "test_86_several_labels_are_raw",
                ),
            ),
        ),
    ),
    87: Pitfall(
        "SGLang gives the heads of Qwen2 and Qwen3 classifiers a bias, random at each start: a "
        "constant in every reward",
        (
            Mutation(
                "The provenance says so, and a warning names the cure, unless an exact reference "
                "tells the constant.",
                DISCOVERY,
                "return state if is_exact else _with_offset(state)",
                "return state",
                (SGLANG + "test_87_an_unknown_constant_is_said",),
            ),
            Mutation(
                "Each warning about the servers of a client is logged once.",
                "_server/warn_once.py",
                "            self._given.add(text)\n",
                "            pass\n",
                (SGLANG + "test_87_each_warning_is_given_once",),
            ),
            Mutation(
                "Only for the models that have it.",
                DISCOVERY,
                "    shifted = engine.shifted & classes if classes else engine.shifted\n",
                "    shifted = engine.shifted\n",
                (SGLANG + "test_87_other_models_have_none",),
            ),
            Mutation(
                "Replicas with other constants are refused, however small.",
                "_replicas/comparison.py",
                "    if shift is not None:\n",
                "    if False:\n",
                (SGLANG + "test_87_replicas_with_other_constants_are_refused",),
            ),
            Mutation(
                "The doctor compares them like the client.",
                "_doctor/runner.py",
                "tokens, reward, state.template, state.rows)",
                "tokens, reward)",
                (
                    SGLANG + "test_87_the_doctor_refuses_them",
                    REPLICAS + "test_25_the_doctor_compares_such_templates",
                ),
            ),
            Mutation(
                "Differences that vary from sample to sample are rounding.",
                "_server/offset.py",
                "if abs(mean) > _LEAST and spread <= _SPREAD * abs(mean):",
                "if abs(mean) > _LEAST:",
                (SGLANG + "test_87_a_constant_is_no_rounding",),
            ),
            Mutation(
                "The doctor warns of it.",
                "_doctor/runner.py",
                "        if state.offset is not None:\n",
                "        if state.offset is None and state.offset:\n",
                ("doctor/test_situations.py::test_situation",),
            ),
            Mutation(
                "`zero-bias` writes a copy of a checkpoint with a bias of zeros.",
                "export/zero_bias.py",
                "writer.write_index({**placed, _BIAS: _FILE}, size + bias.end)",
                "writer.write_index(placed, size + bias.end)",
                ("export/test_zero_bias.py::test_the_copy_has_one_tensor_more",),
            ),
        ),
        "A single server gives no sign of its constant: only a known reward, another server or another "
        "start does. Order and margins within one start are right.",
    ),
    88: Pitfall(
        "SGLang adds a BOS token to text that has one",
        (
            Mutation(
                "The client scores token IDs, which the server leaves as they are.",
                "_protocols/sglang/tokenize.py",
                '        "add_special_tokens": add_special_tokens,\n',
                "",
                (SGLANG + "test_88_text_goes_as_token_ids",),
            ),
        ),
    ),
    89: Pitfall(
        "SGLang serves causal models and backbones as embeddings of length 1, and log-probabilities "
        "in place of logits; process reward models not at all",
        (
            Mutation(
                "Hidden states are no reward, and of length 1 they have lost their scale.",
                EVIDENCE,
                "    if len(rows[0]) > 1 and all(abs(math.hypot(*row) - 1) < ROUNDING for row in rows):\n",
                "    if False:\n",
                (SGLANG + "test_89_hidden_states_of_length_one_are_no_reward",),
            ),
            Mutation(
                "The error of a process reward model says why.",
                NEGOTIATION,
                "    if not strategies_for(wanted)[0] and wanted.engine.first_version_with(wanted.kinds[0]):\n",
                "    if not strategies_for(wanted)[0]:\n",
                (SGLANG + "test_89_process_rewards_are_refused_with_the_reason",),
            ),
            Mutation(
                "One log-probability is refused; a difference of two is one of logits.",
                SGLANG_VERSIONS,
                '        "difference": _DIFFERENCE,\n',
                '        "difference": _DIFFERENCE,\n        "logit": _DIFFERENCE,\n',
                (SGLANG + "test_89_a_log_probability_is_no_logit",),
            ),
            Mutation(
                "The client subtracts the second token's.",
                "_protocols/sglang/logprobs.py",
                "(floats[0] - (floats[1] if len(floats) > 1 else 0.0),)",
                "(floats[0],)",
                (SGLANG + "test_89_the_difference_of_two_is",),
            ),
        ),
    ),
    90: Pitfall(
        "One request ends SGLang: a token ID outside of the vocabulary, an empty list, and whatever "
        "else its engine does not check",
        (
            Mutation(
                "The client refuses token IDs past the vocabulary.",
                RULES,
                "if self.vocabulary is not None and finished.largest() >= self.vocabulary:",
                "if False:",
                (SGLANG + "test_90_an_id_past_the_vocabulary_is_not_sent",),
            ),
            Mutation(
                "`/detokenize` shows the size of the vocabulary: IDs past it have no text.",
                "_server/vocabulary.py",
                "    return low + 1\n",
                "    return low\n",
                (SGLANG + "test_90_the_size_of_the_vocabulary",),
            ),
            Mutation(
                "Single IDs without a text do not end it.",
                "_server/vocabulary.py",
                "_RUN = 16\n",
                "_RUN = 1\n",
                (SGLANG + "test_90_single_ids_without_a_text_end_no_vocabulary",),
            ),
            Mutation(
                "Without `/detokenize` and a local tokenizer nothing is sent.",
                DISCOVERY,
                "    if identity.engine.dies_of_requests:\n",
                "    if identity.engine.dies_of_requests and by_server:\n",
                (SGLANG + "test_90_without_a_vocabulary_nothing_is_sent",),
            ),
            Mutation(
                "No request to write goes to a server that embeds, as `/get_model_info` tells.",
                "_server/identity.py",
                "        return not self.engine.dies_of_requests or self.writes is True\n",
                "        return True\n",
                (SGLANG + "test_90_a_server_that_embeds_is_not_asked_to_write",),
            ),
            Mutation(
                "A request whose connection ends goes to no other server.",
                "_replicas/pool.py",
                'if deaths and kind == "scoring" and not is_last and replica.dies_of_requests:',
                "if False:",
                (SGLANG + "test_90_a_dropped_pack_is_sent_to_no_other_server",),
            ),
            Mutation(
                "Nor do its parts go to the same one.",
                "_scoring/bisect.py",
                "        if state.engine.dies_of_requests and isinstance(error, TransportError):\n            raise",
                "        if False:\n            raise",
                (SGLANG + "test_90_a_dropped_pack_is_not_bisected",),
            ),
        ),
        "The whole request is sent once more to the same server when it is back: mostly the request "
        "was not the reason.",
    ),
    91: Pitfall(
        "SGLang takes one token less than its context length, and seven less if it writes",
        (
            Mutation(
                "The client counts with that.",
                IDENTITY,
                "max_model_len=None if limit is None else limit - engine.spare_tokens,",
                "max_model_len=limit,",
                (SGLANG + "test_91_one_token_less_than_the_context",),
            ),
            Mutation(
                "The same for a server that writes.",
                DISCOVERY,
                "        limit -= identity.engine.spare_to_write\n",
                "        limit -= 1\n",
                (SGLANG + "test_91_room_for_what_it_writes",),
            ),
        ),
    ),
    92: Pitfall(
        "SGLang answers a request for another model with its own model's values",
        (
            Mutation(
                "The client looks the name up in `/v1/models`.",
                IDENTITY,
                '        return next((card for card in cards if card["id"] == model), None)\n',
                "        return cards[0]\n",
                (SGLANG + "test_92_a_wrong_name_is_refused_by_the_client",),
            ),
        ),
    ),
    93: Pitfall(
        "SGLang's native routes answer a list without indices and without a count of all tokens",
        (
            Mutation(
                "Each sample of a request has an ID of its own, which its answer names.",
                "_protocols/sglang/scoring_request.py",
                "            and named != item_id(response.request_id, index)\n",
                "            and False\n",
                (
                    SGLANG + "test_93_an_exchanged_order_is_found_out",
                    SGLANG + "test_93_answers_are_bound_by_their_ids",
                ),
            ),
            Mutation(
                "There must be as many answers as samples.",
                "_protocols/sglang/scoring_request.py",
                "if items is None or len(items) != len(inputs):",
                "if items is None:",
                (SGLANG + "test_93_answers_are_bound_by_their_ids",),
            ),
            Mutation(
                "Each answer must count the tokens of its sample.",
                "_protocols/sglang/scoring_request.py",
                "if type(counted) is not int or counted != len(ids):",
                "if type(counted) is not int:",
                (SGLANG + "test_93_answers_are_bound_by_their_ids",),
            ),
            Mutation(
                "Each attempt has other IDs: equal ones hang on 0.4.9.",
                CALLER,
                "ids = request_id if count is None else [item_id(request_id, place) for place in range(count)]",
                'ids = request_id if count is None else [f"rc-{place}" for place in range(count)]',
                (SGLANG + "test_93_each_attempt_has_its_own_ids",),
            ),
        ),
        "`/v1/embeddings` has indices and a count, and answers no `rid`.",
    ),
    94: Pitfall(
        "SGLang's errors have four forms; the refusal of a server that was started for another "
        "purpose looks like that of a sample",
        (
            Mutation(
                "Such a refusal is a missing route.",
                NEGOTIATION,
                "if error.status < _SERVER_FAILURE and not is_other:",
                "if error.status < _SERVER_FAILURE:",
                (SGLANG + "test_94_every_form_of_error_has_its_message",),
            ),
        ),
    ),
    95: Pitfall(
        "A router names itself in `/v1/models`, so that an SGLang behind it looks like a vLLM: its "
        "vocabulary is not known, and an ID past it ends the server",
        (
            Mutation(
                "Behind a name that no engine has, the engine is known by a route of its own.",
                IDENTITY,
                "    found = await (_found_by_routes(transport) if named is None else _asked(transport, named))\n",
                "    found = await _asked(transport, named or VLLM)\n",
                (SGLANG + "test_95_the_engine_is_known_behind_a_router",),
            ),
            Mutation(
                "Behind a router that refuses the IDs of samples, the client sends none.",
                NEGOTIATION,
                "request = replace(request, named=False)",
                "request = replace(request, named=True)",
                (SGLANG + "test_95_a_router_may_refuse_the_ids_of_samples",),
            ),
        ),
    ),
}

if __name__ == "__main__":
    from mutate import main

    raise SystemExit(main(PITFALLS))
