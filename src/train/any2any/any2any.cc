// Order of work: every row's first item alone, the other items that are timed alone, then batches
// of all rows in turn. Every reply is judged as soon as it is there, together with the true media
// of its item and their copy through the codec, so that memory does not grow with the run.
#include "train/any2any/any2any.h"

#include "core/error.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/strings.h"
#include "io/image.h"
#include "io/wav.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace tessera::any2any {
namespace {

using pipelines::Reply;

constexpr size_t kPool = 300;    // training items behind the baselines of a row
constexpr size_t kGuesses = 10;  // random replies an item

class Stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

const Part* find_part(std::span<const Part> parts, Modality modality) {
  for (const Part& part : parts) {
    if (part.modality == modality) {
      return &part;
    }
  }
  return nullptr;
}

std::string text_of(std::span<const Part> parts) {
  std::string text;
  for (const Part& part : parts) {
    if (const auto* piece = std::get_if<std::string>(&part.content)) {
      text += *piece;
    }
  }
  return text;
}

// A marker that stands in a text was not part of a whole span.
bool has_marker(const std::string& text) {
  for (const Modality modality : {Modality::kImage, Modality::kSpeech, Modality::kMusic}) {
    const pipelines::MediaMarkers& markers = pipelines::media_markers(modality);
    for (const std::string& marker : {markers.start, markers.end, "<" + markers.code}) {
      if (text.find(marker) != std::string::npos) {
        return true;
      }
    }
  }
  return false;
}

bool is_whole(const Part& part) {
  if (const auto* image = std::get_if<Image>(&part.content)) {
    return part.modality == Modality::kImage && image->width > 0 && image->height > 0 &&
           image->channels > 0 &&
           image->pixels.size() == static_cast<size_t>(image->width) *
                                       static_cast<size_t>(image->height) *
                                       static_cast<size_t>(image->channels);
  }
  if (const auto* audio = std::get_if<Audio>(&part.content)) {
    return (part.modality == Modality::kSpeech || part.modality == Modality::kMusic) &&
           audio->frames() > 0 && audio->sample_rate > 0 &&
           std::all_of(audio->samples.begin(), audio->samples.end(),
                       [](float x) { return std::isfinite(x); });
  }
  return part.modality == Modality::kText && !has_marker(std::get<std::string>(part.content));
}

// What the reply says of itself, and whether each part is whole.
bool is_whole(const Reply& reply) {
  const auto& parts = reply.message.parts;
  return reply.valid &&
         std::all_of(parts.begin(), parts.end(), [](const Part& part) { return is_whole(part); });
}

// Broken media are shown as empty.
Shown show(const Part& part) {
  if (const auto* text = std::get_if<std::string>(&part.content)) {
    return {Modality::kText, *text};
  }
  if (!is_whole(part)) {
    return {part.modality, {}};
  }
  const auto* image = std::get_if<Image>(&part.content);
  return {part.modality, image != nullptr ? io::encode_png(*image)
                                          : io::encode_wav(std::get<Audio>(part.content))};
}

using Collected = std::map<std::string, std::vector<Sample>>;

void collect(const std::map<std::string, Sample>& scores, Collected& into) {
  for (const auto& [name, sample] : scores) {
    into[name].push_back(sample);
  }
}

double mean_of(const Collected& collected, const std::string& name) {
  const auto found = collected.find(name);
  return found == collected.end() ? kUnknown : average(found->second, average_of(name));
}

// One row while it runs.
struct RowRun {
  RowResult result;
  size_t next = 0;
  size_t limit = 0;
  Baselines guesses{{}};   // behind chance
  Baselines constant{{}};  // behind the majority
  Collected model, chance, majority, judge, codec;
  size_t right = 0, wrong = 0;  // examples kept
};

class Bench {
 public:
  Bench(const Subject& subject, const Judges& judges, const Suite& suite, const Settings& settings)
      : subject_(subject), judges_(judges), suite_(suite), settings_(settings) {
    for (const char* name : {"picture_seconds", "speech_3s_seconds", "first_audio_seconds",
                             "text_seconds", "music_seconds"}) {
      result_.timings.push_back({name});
    }
    for (const Row& row : suite.rows()) {
      RowRun run;
      run.result.row = row;
      if (row.skipped.empty()) {
        run.result.row.skipped = why_skipped(row);
      }
      if (run.result.row.skipped.empty()) {
        run.limit = std::min(settings.items, row.most);
        total_ += run.limit;
        prepare_baselines(run);
      }
      runs_.push_back(std::move(run));
    }
  }

  Result run() {
    Progress progress("bench any2any", total_, "items");
    if (total_ > 0) {  // the first reply ever pays for caches
      const std::vector<std::vector<Message>> hello = {{{Role::kUser, {Part::text("Hello.")}}}};
      subject_.reply(hello);
    }
    for (RowRun& run : runs_) {
      if (done_ == 0 || !late()) {
        step(run, 1, progress);
      }
    }
    announce(progress);
    for (size_t i = 1; i < settings_.singles; ++i) {
      round(1, progress);
    }
    while (round(settings_.batch, progress)) {
    }
    progress.finish();
    return finish();
  }

 private:
  bool late() const { return settings_.seconds > 0 && watch_.seconds() > settings_.seconds; }

  /// One step of every row; false when there was nothing to do, or no time.
  bool round(size_t count, Progress& progress) {
    bool any = false;
    for (RowRun& run : runs_) {
      if (run.next < run.limit && !late()) {
        step(run, count, progress);
        any = true;
      }
    }
    return any;
  }

  /// Puts the first batch, and says how long all will take: items alone at the speed of those that
  /// are done, the others at the speed of this batch.
  void announce(Progress& progress) {
    const auto first = std::find_if(runs_.begin(), runs_.end(),
                                    [](const RowRun& run) { return run.next < run.limit; });
    if (first == runs_.end() || late()) {
      return;
    }
    const auto alone = static_cast<double>(done_);
    const double each_alone = watch_.seconds() / alone;
    const Stopwatch watch;
    step(*first, settings_.batch, progress);
    const double each = watch.seconds() / (static_cast<double>(done_) - alone);
    const auto left = static_cast<double>(total_ - done_);
    const double singles =
        std::min(left, alone * static_cast<double>(std::max<size_t>(settings_.singles, 1) - 1));
    const double all = watch_.seconds() + singles * each_alone + (left - singles) * each;
    if (settings_.seconds > 0 && all > settings_.seconds) {
      log::info("all {} items would take about {}; stopping after {}", total_, format_duration(all),
                format_duration(settings_.seconds));
    } else {
      log::info("{} items will take about {}", total_, format_duration(all));
    }
  }

  std::string why_skipped(const Row& row) const {
    const bool judged = row.kind == RowKind::kPair || row.kind == RowKind::kLeftOutVoice;
    const Senses senses = judges_.senses();
    if (judged && row.pair.to == Modality::kImage && !senses.scene) {
      return "the scene judge is missing";
    }
    if (judged && row.pair.to == Modality::kSpeech && !senses.words && !senses.voice) {
      return "the recogniser and the speaker judge are missing";
    }
    if (judged && row.pair.to == Modality::kMusic && !senses.music) {
      return "the music judge is missing";
    }
    return {};
  }

  void prepare_baselines(RowRun& run) const {
    run.constant = Baselines(suite_.training_items(run.result.row, kPool));
    // Outside the world chance is a reply of the world.
    Row drawn = run.result.row;
    if (drawn.kind >= RowKind::kOutside) {
      drawn.kind = RowKind::kPair;
      drawn.pair = {Modality::kImage, Modality::kText};
    }
    run.guesses = Baselines(suite_.training_items(drawn, kPool));
  }

  void step(RowRun& run, size_t count, Progress& progress) {
    count = std::min(count, run.limit - run.next);
    if (count == 0) {
      return;
    }
    const std::vector<Case> cases = suite_.cases(run.result.row, run.next, count);
    run.next += count;
    std::vector<std::vector<Message>> conversations;
    for (const Case& one : cases) {
      conversations.push_back(one.conversation);
    }
    const Stopwatch watch;
    const std::vector<Reply> replies = subject_.reply(conversations);
    const double seconds = watch.seconds();
    TESSERA_CHECK(replies.size() == cases.size(), Internal, "{} replies to {} conversations",
                  replies.size(), cases.size());
    if (count == 1) {
      time_alone(run, replies.front(), seconds);
    } else {
      run.result.batched += count;
      run.result.batch_seconds += seconds;
    }
    const bool renders =
        run.result.row.kind != RowKind::kDigits && run.result.row.kind < RowKind::kOutside;
    const auto truth = renders ? suite_.truth(cases) : std::vector<std::vector<Part>>(count);
    for (size_t i = 0; i < cases.size(); ++i) {
      take(run, cases[i], replies[i], truth[i]);
      ++done_;
      progress.advance(1);
    }
  }

  void time_alone(RowRun& run, const Reply& reply, double seconds) {
    const auto note = [&](std::string_view name, double value) {
      for (Timing& timing : result_.timings) {
        if (timing.name == name) {
          timing.values.push_back(value);
        }
      }
    };
    run.result.reply.values.push_back(seconds);
    const Row& row = run.result.row;
    if (row.kind >= RowKind::kOutside) {
      return;
    }
    const Part* part = find_part(reply.message.parts, row.pair.to);
    if (part == nullptr) {
      return;
    }
    if (row.pair.to == Modality::kImage) {
      note("picture_seconds", seconds);
    } else if (row.pair.to == Modality::kText) {
      note("text_seconds", seconds);
    } else if (row.pair.to == Modality::kMusic) {
      note("music_seconds", seconds);
    } else if (const double length = std::get<Audio>(part->content).seconds(); length > 0) {
      note("speech_3s_seconds", seconds * 3 / length);
    }
    if (reply.first_audio_seconds >= 0) {
      note("first_audio_seconds", reply.first_audio_seconds);
    }
  }

  void take(RowRun& run, const Case& one, const Reply& reply, const std::vector<Part>& truth) {
    const Modality wanted = wanted_of(one.item);
    const std::vector<Part>& parts = reply.message.parts;
    Findings found;
    found.valid = is_whole(reply);
    found.text = text_of(parts);
    ++run.result.n;
    run.result.malformed += found.valid ? 0 : 1;
    run.result.unanswered += find_part(parts, wanted) == nullptr ? 1 : 0;
    if (found.valid) {  // judges take whole media alone
      judge_parts(judges_, parts, wanted, found);
    }
    const std::map<std::string, Sample> scores = score(one.item, found, judges_.senses());
    collect(scores, run.model);
    judge_truth(run, one, truth);
    Rng rng(settings_.seed, hash_name("chance") + done_);
    for (size_t i = 0; i < kGuesses; ++i) {
      collect(score(one.item, run.guesses.chance(one.item, rng), judges_.senses()), run.chance);
    }
    collect(score(one.item, run.constant.majority(one.item), judges_.senses()), run.majority);
    keep_example(run, one, reply, truth, scores);
  }

  // The judge on the true outputs, or, when text was asked for, on the media that came in.
  void judge_truth(RowRun& run, const Case& one, const std::vector<Part>& truth) const {
    if (one.item.task == "outside" || one.item.question) {
      return;
    }
    const world::Pair pair = pair_of(one.item);
    const bool reads = pair.to == Modality::kText;
    const Modality heard = reads ? pair.from : pair.to;
    const std::vector<Part>& parts = reads ? one.conversation.back().parts : truth;
    const Part* part = find_part(parts, heard);
    const Senses senses = judges_.senses();
    const bool sense = heard == Modality::kImage   ? senses.scene
                       : heard == Modality::kMusic ? senses.music
                                                   : senses.words || (senses.voice && !reads);
    if (part == nullptr || !sense) {
      return;
    }
    const auto add = [&](const Part& media, Collected& into) {
      Findings found;
      judge_parts(judges_, {&media, 1}, heard, found);
      collect(score(one.item, found, senses), into);
    };
    add(*part, run.judge);
    if (subject_.copy) {
      add(subject_.copy(*part), run.codec);
    }
  }

  void keep_example(RowRun& run,
                    const Case& one,
                    const Reply& reply,
                    const std::vector<Part>& truth,
                    const std::map<std::string, Sample>& scores) const {
    bool right = true;
    std::vector<std::string> verdict;
    for (const auto& [name, sample] : scores) {
      const bool errors = name == "wer";
      const double value = sample.whole > 0 ? sample.part / sample.whole : kUnknown;
      const bool good = errors ? value == 0 : value == 1;
      right = right && good;
      verdict.push_back(sample.whole == 1 && !errors ? fmt::format("{} {}", name, good ? "✓" : "✗")
                                                     : fmt::format("{} {:.2f}", name, value));
    }
    size_t& kept = right ? run.right : run.wrong;
    if (kept >= settings_.examples) {
      return;
    }
    ++kept;
    Example example;
    example.right = right;
    for (const Part& part : one.conversation.back().parts) {
      if (part.modality == Modality::kText) {
        example.asked += std::get<std::string>(part.content);
      } else {
        example.inputs.push_back(show(part));
      }
    }
    for (const Part& part : reply.message.parts) {
      example.reply.push_back(show(part));
    }
    for (const Part& part : truth) {
      example.truth.push_back(show(part));
    }
    for (const world::PartSpec& spec : one.item.turns.front().outputs) {
      if (const auto* speech = std::get_if<world::SpeechPart>(&spec)) {
        example.truth.push_back({Modality::kText, speech->text});
      } else if (const auto* text = std::get_if<world::TextPart>(&spec);
                 text != nullptr && truth.empty()) {
        example.truth.push_back({Modality::kText, text->text});
      }
    }
    if (!reply.valid) {
      verdict.emplace_back("malformed span");
    }
    example.verdict = join(verdict, ", ");
    run.result.examples.push_back(std::move(example));
  }

  Result finish() {
    for (RowRun& run : runs_) {
      if (run.limit > 0 && run.result.n == 0) {
        run.result.row.skipped = "not reached in time";
      }
      for (const auto& [name, samples] : run.model) {
        run.result.metrics.push_back(
            {.name = name,
             .n = samples.size(),
             .value = average(samples, average_of(name)),
             .interval = interval(samples, average_of(name), settings_.seed),
             .chance = mean_of(run.chance, name),
             .majority = mean_of(run.majority, name),
             .judge = mean_of(run.judge, name),
             .codec = mean_of(run.codec, name),
             .target = target_of(run.result.row.name, name)});
      }
      result_.rows.push_back(std::move(run.result));
    }
    for (const std::string& name : judges_.missing()) {
      result_.notes.push_back(
          fmt::format("the judge '{}' is missing: its figures are left out", name));
    }
    if (judges_.voice) {
      result_.notes.push_back(
          fmt::format("voices are told apart among {}", world::voices().size()));
    }
    result_.seed = settings_.seed;
    result_.items = settings_.items;
    result_.seconds = watch_.seconds();
    return std::move(result_);
  }

  const Subject& subject_;
  const Judges& judges_;
  const Suite& suite_;
  const Settings& settings_;
  Stopwatch watch_;
  std::vector<RowRun> runs_;
  Result result_;
  size_t total_ = 0;
  size_t done_ = 0;
};

}  // namespace

Result run_bench(const Subject& subject,
                 const Judges& judges,
                 const Suite& suite,
                 const Settings& settings) {
  TESSERA_CHECK(settings.batch > 0, InvalidArgument, "bench any2any: batches of no items");
  return Bench(subject, judges, suite, settings).run();
}

}  // namespace tessera::any2any
